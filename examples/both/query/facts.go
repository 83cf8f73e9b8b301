package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
)

// facts is what a compiler decided for a binary: this one's own, and what the
// server says of itself.
type facts struct {
	Language string `json:"language"`
	// Arch is the language's own name: Go says arm64 where Rust says aarch64.
	Arch string `json:"arch"`
	OS   string `json:"os"`
	// Endian is "little" or "big".
	Endian string `json:"endian"`
	// PointerWidth counts the bits in a pointer.
	PointerWidth int `json:"pointer_width"`
}

func own() facts {
	endian := "little"
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		endian = "big"
	}
	return facts{
		Language:     "go",
		Arch:         runtime.GOARCH,
		OS:           runtime.GOOS,
		Endian:       endian,
		PointerWidth: bits.UintSize,
	}
}

func (f facts) String() string {
	return fmt.Sprintf("%s, %s, %s, %s-endian, %d-bit", f.Language, f.Arch, f.OS, f.Endian, f.PointerWidth)
}

// sameABI says whether two programs can be of one platform. The architectures'
// names differ between languages, so it looks at the rest.
func sameABI(a, b facts) bool {
	return a.OS == b.OS && a.Endian == b.Endian && a.PointerWidth == b.PointerWidth
}
