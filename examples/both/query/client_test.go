package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const s390xJSON = `{"language":"rust","arch":"s390x","os":"linux","endian":"big","pointer_width":64}`

var s390x = facts{"rust", "s390x", "linux", "big", 64}

// serve answers /healthz and /arch; the first calls of /healthz with 503.
func serve(t *testing.T, unhealthy int, arch http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if unhealthy > 0 {
			unhealthy--
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/arch", arch)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func TestFetch(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, slash := range []string{"", "/"} {
		got, err := fetch(ctx, serve(t, 2, body(s390xJSON))+slash)
		if err != nil || got != s390x {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestFetchFails(t *testing.T) {
	for name, test := range map[string]struct {
		arch http.HandlerFunc
		want string
	}{
		"not JSON": {body("<html>"), "is not what was expected"},
		"empty":    {body("{}"), "names no architecture"},
		"endless":  {body(`{"arch":"` + strings.Repeat("x", 2*maxBody)), "is not what was expected"},
		"status":   {http.NotFound, "404"},
	} {
		_, err := fetch(context.Background(), serve(t, 0, test.arch))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFetchGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	_, err := fetch(ctx, serve(t, 1_000_000, body(s390xJSON)))
	if err == nil || !strings.Contains(err.Error(), "did not become healthy") {
		t.Errorf("got %v", err)
	}
}

func TestSameABI(t *testing.T) {
	rust := facts{"rust", "aarch64", "linux", "little", 64}
	for _, test := range []struct {
		other facts
		want  bool
	}{
		{facts{"go", "arm64", "linux", "little", 64}, true},
		{facts{"go", "arm", "linux", "little", 32}, false},
		{facts{"go", "s390x", "linux", "big", 64}, false},
		{facts{"go", "arm64", "freebsd", "little", 64}, false},
	} {
		if got := sameABI(rust, test.other); got != test.want {
			t.Errorf("%v and %v: %v", rust, test.other, got)
		}
	}
}
