// Command query asks an arch-server what it was compiled for.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
)

type options struct {
	url     string
	spawn   string
	json    bool
	timeout time.Duration
}

// report is what is printed.
type report struct {
	Server facts `json:"server"`
	Query  facts `json:"query"`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it. It returns the exit
// code: 0, 1 for a failure, 2 for wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	var opts options
	flags := pflag.NewFlagSet("query", pflag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed below, once
	flags.StringVar(&opts.url, "url", "http://127.0.0.1:8080", "where the server listens")
	flags.StringVar(&opts.spawn, "spawn", "", "start the server at this `path`, and end it afterwards")
	flags.BoolVar(&opts.json, "json", false, "print one line of JSON")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "how long to wait for the server")
	usage := func(to io.Writer) {
		fmt.Fprintf(to, "Asks an arch-server what it was compiled for, and tells the same of itself.\n\n"+
			"Usage: query [--url URL | --spawn PATH] [--json]\n\n%s", flags.FlagUsages())
	}

	err := flags.Parse(args)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case opts.spawn != "" && flags.Changed("url"):
		err = errors.New("--url and --spawn exclude each other")
	}
	switch {
	case errors.Is(err, pflag.ErrHelp):
		usage(stdout)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "query: %v\n\n", err)
		usage(stderr)
		return 2
	}

	got, err := query(opts)
	if err == nil {
		err = got.write(stdout, opts.json)
	}
	if err != nil {
		fmt.Fprintf(stderr, "query: %v\n", err)
		return 1
	}
	return 0
}

func query(opts options) (got report, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), opts.timeout)
	defer cancel()

	url := opts.url
	if opts.spawn != "" {
		child, spawnErr := spawn(ctx, opts.spawn)
		if spawnErr != nil {
			return report{}, spawnErr
		}
		defer func() { err = errors.Join(err, child.terminate()) }()
		url = child.url
	}

	theirs, err := fetch(ctx, url)
	if err != nil {
		return report{}, err
	}
	got = report{Server: theirs, Query: own()}
	// Two programs of one image are for one platform; another machine's server
	// may be anything.
	if opts.spawn != "" && !sameABI(got.Server, got.Query) {
		return report{}, fmt.Errorf("%s is for another platform: %v; this is %v", opts.spawn, got.Server, got.Query)
	}
	return got, nil
}

func (r report) write(to io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(to).Encode(r)
	}
	_, err := fmt.Fprintf(to, "server: %v\nquery:  %v\n", r.Server, r.Query)
	return err
}
