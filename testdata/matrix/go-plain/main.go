// Program go-plain has no C in it.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
)

func main() {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	fmt.Fprint(writer, "abc")
	writer.Close()
	reader, err := gzip.NewReader(&packed)
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(reader)
	fmt.Printf("go-plain %x %v\n", sha256.Sum256(text), err)
}
