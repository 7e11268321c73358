// Package cli is the command `plumb`: the client of the dashboard's API, the
// commands that need no server, and `plumb up`, which composes all services.
//
// It is the top floor and may import everything. Commands fail with one line
// that says what to do; bad usage is exit code 2, everything else that fails 1.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/service"
)

// Env is the process around the command.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Now      func() time.Time // nil: time.Now
	// Terminal says whether a stream is a terminal; nil: the operating system says.
	Terminal func(stream any) bool
}

// errUsage marks what a different command line would mend.
var errUsage = errors.New("see --help")

// errTold ends with exit code 1 when everything was said already.
var errTold = errors.New("")

// coded is an error with an exit code of its own.
type coded struct {
	code int
	error
}

func (c coded) Unwrap() error { return c.error }

// Main runs one command line and returns its exit code.
func Main(args []string, env Env) int {
	if env.Now == nil {
		env.Now = time.Now
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errTold) {
		fmt.Fprintln(env.Err, "plumb:", printable(err.Error()))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var own coded
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.code
	case errors.Is(err, errUsage):
		return 2
	}
	return 1
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "plumb",
		Short: "Keep Kubernetes clusters true to Git",
		Long: `Plumb keeps Kubernetes clusters true to Git: a webhook says look, and a worker
inside the cluster looks, renders, plans and applies.

get, sync, diff, confirm, suspend, resume and events ask the dashboard of a running
Plumb, by default the one that "plumb up" started in this directory. render, generate,
import and crds need no server; uninstall speaks with a cluster.`,
		Example: `  plumb up --config plumb.yaml        # run all of Plumb in this process
  plumb get -A                        # what is in sync, and what is not
  plumb events --follow               # what happens, as it happens
  plumb diff team-a/web               # what the next sync would do
  plumb sync team-a/web               # now, and wait for it
  plumb render -f app.yaml --dir .    # what would be applied, without a cluster`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	root.AddCommand(
		newUp(env), newGet(env), newSync(env), newSuspend(env), newResume(env), newDiff(env), newConfirm(env), newEvents(env), newRender(env), newGenerate(env), newUninstall(env),
		newImport(env), newBus(env), newCRDs(), newVersion(),
	)
	usageOfArgs(root)
	return root
}

// usageOfArgs makes wrong arguments, also unknown commands, a usage error.
func usageOfArgs(c *cobra.Command) {
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return fmt.Errorf("%w; %w", err, errUsage)
		}
		return nil
	}
	for _, sub := range c.Commands() {
		usageOfArgs(sub)
	}
}

func newCRDs() *cobra.Command {
	return &cobra.Command{
		Use:   "crds",
		Short: "Print the CustomResourceDefinitions of Application and ApplicationSet",
		Long: `Print the CustomResourceDefinitions of Application and ApplicationSet as YAML.
"plumb up" installs and upgrades them by itself.`,
		Example: "  plumb crds | kubectl apply --server-side -f -",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, crd := range v1alpha1.CRDs() {
				if _, err := c.OutOrStdout().Write(crd); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  plumb version",
		Args:    cobra.NoArgs,
		Run:     func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), "plumb", service.Version()) },
	}
}
