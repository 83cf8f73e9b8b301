// Command archinfo prints what it was compiled for.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
)

// version is replaced by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it. It returns the exit
// code: 0, 1 for a failure, 2 for wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	flags := pflag.NewFlagSet("archinfo", pflag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed below, once
	asJSON := flags.Bool("json", false, "print one line of JSON")
	showVersion := flags.BoolP("version", "V", false, "print the version")
	usage := func(to io.Writer) {
		fmt.Fprintf(to, "Prints the architecture that this program was compiled for.\n\n"+
			"Usage: archinfo [--json]\n\n%s", flags.FlagUsages())
	}

	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, pflag.ErrHelp):
		usage(stdout)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "archinfo: %v\n\n", err)
		usage(stderr)
		return 2
	}

	if err := report(stdout, *asJSON, *showVersion); err != nil {
		fmt.Fprintf(stderr, "archinfo: %v\n", err)
		return 1
	}
	return 0
}

func report(to io.Writer, asJSON, showVersion bool) error {
	if showVersion {
		_, err := fmt.Fprintln(to, "archinfo", version)
		return err
	}
	facts, err := gather()
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(to).Encode(facts)
	}
	_, err = io.WriteString(to, facts.String())
	return err
}
