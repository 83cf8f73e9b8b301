package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a server may take to end after SIGTERM before it is
// killed. A variable for the tests.
var stopTimeout = 5 * time.Second

// server is a child process that this program started.
type server struct {
	url     string
	command *exec.Cmd
	stop    context.CancelFunc
	drained chan struct{} // closed when the child's stdout has ended
}

// spawn starts the server at path on a free port and waits for the line in
// which it says where it listens. End it with terminate.
func spawn(ctx context.Context, path string) (*server, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	command := exec.CommandContext(running, path, "--listen", "127.0.0.1:0")
	command.Stderr = os.Stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopTimeout
	stdout, err := command.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	if err := command.Start(); err != nil {
		stop()
		return nil, err
	}

	child := &server{command: command, stop: stop, drained: make(chan struct{})}
	firstLine := make(chan string, 1)
	go func() {
		defer close(child.drained)
		lines := bufio.NewScanner(stdout)
		lines.Scan()
		firstLine <- lines.Text()
		// A child that nobody reads from would block, or die of SIGPIPE.
		io.Copy(io.Discard, stdout)
	}()

	select {
	case line := <-firstLine:
		url, found := strings.CutPrefix(line, "listening on ")
		if found {
			child.url = url
			return child, nil
		}
		err = fmt.Errorf("%s did not say where it listens: %q", path, line)
	case <-ctx.Done():
		err = fmt.Errorf("%s did not say where it listens: %w", path, ctx.Err())
	}
	return nil, errors.Join(err, child.terminate())
}

// terminate sends SIGTERM and waits. A server that does not end, or ends with
// another code than 0, is an error.
func (s *server) terminate() error {
	// A server that has already ended by itself is not asked to: Wait tells
	// with which code it did.
	s.stop()
	select {
	case <-s.drained: // Wait closes the pipe, so let the reader finish first
	case <-time.After(stopTimeout):
	}
	err := s.command.Wait()
	// Wait says "canceled" also where the child ended well after SIGTERM.
	if errors.Is(err, context.Canceled) && s.command.ProcessState.Success() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the server did not end well: %w", err)
	}
	return nil
}
