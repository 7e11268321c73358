// Command demo plays Plumb on one machine: a real control plane, a Git server, a
// registry, a Slack stand-in and `plumb up`, all on loopback, and scenarios that
// are measured from the outside, by watches on the API server.
//
// It uses Plumb as people do: its binary, its configuration, its API. `make demo`
// builds what it needs. See docs/demo.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/plumb-gitops/plumb/integration/demo/screen"
)

// options are what the command line says.
type options struct {
	once bool
	dir  string // for all files; empty: a temporary one, removed at the end
	bin  string // where plumb and plumb-kube are
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	o, err := parse(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once, and the parts with it
	return play(ctx, o, screen.New(os.Stdout, os.Getenv))
}

func parse(args []string, out io.Writer) (options, error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(out)
	var o options
	flags.BoolVar(&o.once, "once", false, "end after the scenarios: 0 when all went well, 1 when not")
	flags.StringVar(&o.dir, "dir", "", "keep all files, logs too, in this new or empty `directory`")
	flags.StringVar(&o.bin, "bin", "", "`directory` with plumb and plumb-kube (default: where this program is)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not known; see --help", flags.Arg(0))
	}
	if o.bin == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find this program: %w; name the directory of plumb with --bin", err)
		}
		o.bin = filepath.Dir(self)
	}
	return o, nil
}
