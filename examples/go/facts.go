package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// facts is what the compiler decided for this binary, and what the kernel says
// at run time. Everything but Machine is fixed when the program is compiled.
type facts struct {
	Language string `json:"language"`
	// Arch is Go's own name: amd64, arm64, arm, s390x, ppc64le, ...
	Arch string `json:"arch"`
	OS   string `json:"os"`
	// Endian is "little" or "big".
	Endian string `json:"endian"`
	// PointerWidth counts the bits in a pointer.
	PointerWidth int `json:"pointer_width"`
	// Level is the compiler's setting for this architecture, such as "GOARM=7"
	// or "GOAMD64=v1". Not every architecture has one.
	Level string `json:"level,omitempty"`
	// Machine is the running kernel's "uname -m". It differs from Arch when a
	// 32-bit program runs on a 64-bit kernel.
	Machine string `json:"machine"`
}

func gather() (facts, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return facts{}, fmt.Errorf("uname: %w", err)
	}
	var settings []debug.BuildSetting
	if info, ok := debug.ReadBuildInfo(); ok {
		settings = info.Settings
	}
	return facts{
		Language:     "go",
		Arch:         runtime.GOARCH,
		OS:           runtime.GOOS,
		Endian:       endian(),
		PointerWidth: bits.UintSize,
		Level:        level(runtime.GOARCH, settings),
		Machine:      unix.ByteSliceToString(name.Machine[:]),
	}, nil
}

func endian() string {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return "big"
	}
	return "little"
}

// level finds the setting that is named after the architecture, without the
// "le" or "be" that some end in: ppc64le has GOPPC64.
func level(arch string, settings []debug.BuildSetting) string {
	key := "GO" + strings.ToUpper(strings.TrimSuffix(arch, "le"))
	for _, setting := range settings {
		if setting.Key == key {
			return key + "=" + setting.Value
		}
	}
	return ""
}

// String has one "name: value" line for each fact.
func (f facts) String() string {
	var text strings.Builder
	line := func(name string, value any) {
		fmt.Fprintf(&text, "%-15s %v\n", name+":", value)
	}
	line("language", f.Language)
	line("arch", f.Arch)
	line("os", f.OS)
	line("endian", f.Endian)
	line("pointer width", f.PointerWidth)
	if f.Level != "" {
		line("level", f.Level)
	}
	line("machine", f.Machine)
	return text.String()
}
