// Lists a tar.gz as Go's archive/tar reads it, in the form of examples/torture.rs.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

func quoted(text string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\t", `\t`).Replace(text) + `"`
}

type content struct {
	header *tar.Header
	digest string
}

func list(file string) error {
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	stream, err := gzip.NewReader(opened)
	if err != nil {
		return err
	}
	// What comes behind the first member is not read: a layer has to be one.
	stream.Multistream(false)
	reader := tar.NewReader(stream)
	files := map[string]content{}
	var lines []string
	for {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(header.Name, "/")
		kind, link, mode, size, digest, capability := "file", "", header.Mode, header.Size, "", ""
		switch header.Typeflag {
		case tar.TypeDir:
			kind = "directory"
		case tar.TypeSymlink:
			kind, link, mode = "symlink", header.Linkname, 0o777
		case tar.TypeReg:
			hash := sha256.New()
			if _, err := io.Copy(hash, reader); err != nil {
				return err
			}
			digest = fmt.Sprintf("%x", hash.Sum(nil))
			files[name] = content{header, digest}
		case tar.TypeLink:
			// As Rust and the kernel see it: another name of the same file.
			target := files[header.Linkname]
			header, digest = target.header, target.digest
			mode, size = header.Mode, header.Size
		default:
			return fmt.Errorf("%s is of type %c", name, header.Typeflag)
		}
		capability = fmt.Sprintf("%x", header.PAXRecords["SCHILY.xattr.security.capability"])
		line := fmt.Sprintf("%s %s %s %o %d:%d %d %s %s", quoted(name), kind, quoted(link), mode, header.Uid, header.Gid, size, digest, capability)
		lines = append(lines, strings.TrimRight(line, " "))
	}
	sort.Strings(lines)
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}

func main() {
	if err := list(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
