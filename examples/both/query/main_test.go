package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary itself plays the server: query starts it with this variable
// set, and it behaves as the variable says.
const playEnv = "QUERY_TEST_PLAY"

func TestMain(m *testing.M) {
	if play := os.Getenv(playEnv); play != "" {
		playServer(play)
	}
	os.Exit(m.Run())
}

func playServer(play string) {
	if len(os.Args) != 3 || os.Args[1] != "--listen" {
		fmt.Fprintln(os.Stderr, "unexpected arguments", os.Args)
		os.Exit(9)
	}
	switch play {
	case "silent":
		time.Sleep(time.Minute)
	case "fails":
		os.Exit(3)
	case "babbles":
		fmt.Println("hello")
		os.Exit(0)
	}

	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		panic(err)
	}
	mine := own()
	mine.Language = "test"
	if play == "other-platform" {
		mine.PointerWidth = 16
	}
	answer, _ := json.Marshal(mine)
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/arch", func(w http.ResponseWriter, _ *http.Request) { w.Write(answer) })
	fmt.Printf("listening on http://%s\n", listener.Addr())
	go http.Serve(listener, nil)

	<-terminated
	switch play {
	case "lingers":
		time.Sleep(time.Minute)
	case "ends-badly":
		os.Exit(4)
	case "floods":
		fmt.Println(strings.Repeat("x", 1<<20))
	}
	os.Exit(0)
}

func runQuery(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, &out, &err)
	return code, out.String(), err.String()
}

func TestSpawn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for play, want := range map[string]string{ // part of stderr; "" is success
		"good":           "",
		"floods":         "",
		"silent":         "did not say where it listens",
		"fails":          "exit status 3",
		"babbles":        `"hello"`,
		"other-platform": "is for another platform",
		"lingers":        "signal: killed",
		"ends-badly":     "exit status 4",
	} {
		t.Run(play, func(t *testing.T) {
			t.Setenv(playEnv, play)
			timeout := "20s"
			switch play {
			case "silent":
				timeout = "300ms"
			case "lingers":
				defer func(old time.Duration) { stopTimeout = old }(stopTimeout)
				stopTimeout = 300 * time.Millisecond
			}
			code, stdout, stderr := runQuery("--spawn", self, "--json", "--timeout", timeout)
			if want != "" {
				if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
					t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
				}
				return
			}
			var got report
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("%v in %q, stderr %q", err, stdout, stderr)
			}
			if code != 0 || got.Server.Language != "test" || got.Query != own() {
				t.Errorf("exit %d, got %+v, stderr %q", code, got, stderr)
			}
		})
	}
}

func TestSpawnOfNothing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	code, _, stderr := runQuery("--spawn", missing)
	if code != 1 || !strings.Contains(stderr, missing) {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestText(t *testing.T) {
	code, stdout, stderr := runQuery("--url", serve(t, 0, body(s390xJSON)))
	want := "server: rust, s390x, linux, big-endian, 64-bit\nquery:  " + own().String() + "\n"
	if code != 0 || stdout != want {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "Usage: query"},
		{[]string{"--sprawn", "x"}, 2, "--sprawn"},
		{[]string{"now"}, 2, `"now"`},
		{[]string{"--timeout", "soon"}, 2, "soon"},
		{[]string{"--spawn", "x", "--url", "y"}, 2, "exclude each other"},
	} {
		code, stdout, stderr := runQuery(test.args...)
		if code != test.code || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", test.args, code, stdout, stderr)
		}
	}
}
