package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"
)

func TestGatherAgreesWithTheCompiler(t *testing.T) {
	got, err := gather()
	if err != nil {
		t.Fatal(err)
	}
	if got.Language != "go" || got.Arch != runtime.GOARCH || got.OS != runtime.GOOS {
		t.Errorf("got %+v", got)
	}
	if want := int(unsafe.Sizeof(uintptr(0))) * 8; got.PointerWidth != want {
		t.Errorf("pointer width %d, want %d", got.PointerWidth, want)
	}
	one := uint16(1)
	want := "big"
	if *(*byte)(unsafe.Pointer(&one)) == 1 {
		want = "little"
	}
	if got.Endian != want {
		t.Errorf("endian %q, want %q", got.Endian, want)
	}
	if got.Machine == "" {
		t.Error("no machine")
	}
}

func TestLevel(t *testing.T) {
	settings := []debug.BuildSetting{
		{Key: "CGO_ENABLED", Value: "0"},
		{Key: "GOARCH", Value: "arm"},
		{Key: "GOARM", Value: "7"},
		{Key: "GOPPC64", Value: "power8"},
	}
	for arch, want := range map[string]string{
		"arm":     "GOARM=7",
		"ppc64":   "GOPPC64=power8",
		"ppc64le": "GOPPC64=power8",
		"arm64":   "",
		"s390x":   "",
	} {
		if got := level(arch, settings); got != want {
			t.Errorf("level of %s is %q, want %q", arch, got, want)
		}
	}
	if got := level("arm", nil); got != "" {
		t.Errorf("without build information: %q", got)
	}
}

func TestForms(t *testing.T) {
	arm := facts{"go", "arm", "linux", "little", 32, "GOARM=7", "armv7l"}
	wantText := `language:       go
arch:           arm
os:             linux
endian:         little
pointer width:  32
level:          GOARM=7
machine:        armv7l
`
	if got := arm.String(); got != wantText {
		t.Errorf("text is\n%s", got)
	}
	wantJSON := `{"language":"go","arch":"arm","os":"linux","endian":"little","pointer_width":32,"level":"GOARM=7","machine":"armv7l"}`
	if got, err := json.Marshal(arm); err != nil || string(got) != wantJSON {
		t.Errorf("JSON is %s, %v", got, err)
	}

	s390x := facts{"go", "s390x", "linux", "big", 64, "", "s390x"}
	wantText = `language:       go
arch:           s390x
os:             linux
endian:         big
pointer width:  64
machine:        s390x
`
	if got := s390x.String(); got != wantText {
		t.Errorf("text is\n%s", got)
	}
	wantJSON = `{"language":"go","arch":"s390x","os":"linux","endian":"big","pointer_width":64,"machine":"s390x"}`
	if got, err := json.Marshal(s390x); err != nil || string(got) != wantJSON {
		t.Errorf("JSON is %s, %v", got, err)
	}
}
