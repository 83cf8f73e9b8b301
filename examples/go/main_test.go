package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	for _, test := range []struct {
		args   []string
		code   int
		stdout string // is part of what is printed
		stderr string
	}{
		{nil, 0, "arch:           " + runtime.GOARCH + "\n", ""},
		{[]string{"--json"}, 0, `"arch":"` + runtime.GOARCH + `"`, ""},
		{[]string{"--version"}, 0, "archinfo dev\n", ""},
		{[]string{"--help"}, 0, "Usage: archinfo", ""},
		{[]string{"--jason"}, 2, "", "--jason"},
		{[]string{"json"}, 2, "", `"json"`},
	} {
		var stdout, stderr bytes.Buffer
		code := run(test.args, &stdout, &stderr)
		if code != test.code {
			t.Errorf("%q: exit %d, want %d", test.args, code, test.code)
		}
		if !strings.Contains(stdout.String(), test.stdout) || (test.stdout == "") != (stdout.Len() == 0) {
			t.Errorf("%q: stdout is %q", test.args, stdout.String())
		}
		if !strings.Contains(stderr.String(), test.stderr) || (test.stderr == "") != (stderr.Len() == 0) {
			t.Errorf("%q: stderr is %q", test.args, stderr.String())
		}
	}
}

func TestJSONIsOneLineThatParses(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"--json"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if got := strings.Count(stdout.String(), "\n"); got != 1 {
		t.Errorf("%d lines", got)
	}
	want, err := gather()
	if err != nil {
		t.Fatal(err)
	}
	var got facts
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAFailingWriterIsAnError(t *testing.T) {
	for _, args := range [][]string{nil, {"--json"}, {"--version"}} {
		var stderr bytes.Buffer
		if code := run(args, full{}, &stderr); code != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%q: exit %d, stderr %q", args, code, stderr.String())
		}
	}
}
