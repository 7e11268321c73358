package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/cluster"
)

func newUninstall(env Env) *cobra.Command {
	u := &uninstall{env: env}
	var kubeconfig string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Plumb from a cluster, and leave all that it deployed",
		Long: `Remove Plumb from the cluster of a kubeconfig: what deploy/kubernetes/base installed, all
Applications and ApplicationSets, and their CustomResourceDefinitions. No object that
an Application deployed is deleted or changed, whatever its deletionPolicy says, and
whether a worker runs or not. What will be removed and what stays is shown first.

Objects keep the annotation plumb.dev/application, the label plumb.dev/owner and the
field manager plumb, which mean nothing any more; --strip-marks takes them away, which
restarts nothing. When it ends half-way, run it again.

What runs outside of the cluster (plumb up, docker compose) is stopped first, by you.`,
		Example: `  plumb uninstall                   # shows, and asks
  plumb uninstall --yes --strip-marks
  plumb uninstall --kubeconfig ~/.kube/prod`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			kube, err := cluster.Open(cluster.Options{Kubeconfig: kubeconfig, UserAgent: "plumb-uninstall"})
			if err != nil {
				return err
			}
			u.client, u.host = kube.As(cluster.Identity{}), kube.Host()
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return u.run(ctx)
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "`file`; without it KUBECONFIG, then ~/.kube/config")
	c.Flags().StringVarP(&u.namespace, "namespace", "n", "plumb-system", "`namespace` of deploy/kubernetes/base")
	c.Flags().BoolVar(&u.stripMarks, "strip-marks", false, "take Plumb's marks from the objects that stay")
	c.Flags().BoolVar(&u.yes, "yes", false, "do not ask")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long it may take")
	return c
}

// uninstall is one use of the command.
type uninstall struct {
	env        Env
	client     *cluster.Client // as the person
	host       string
	namespace  string
	stripMarks bool
	yes        bool
}

// run takes the steps in an order in which each is safe when the next one never comes,
// and finds what is left when it is run again.
func (u *uninstall) run(ctx context.Context) error {
	p := &progress{out: u.env.Err}
	defer p.step("")
	p.step("looking at the cluster")
	found, err := u.gather(ctx)
	p.step("")
	if err != nil {
		return err
	}
	if found.nothing() {
		fmt.Fprintf(u.env.Out, "nothing of Plumb is in the cluster at %s\n", cell(u.host))
		return nil
	}
	u.show(found)
	if err := u.ask(); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context, installed) error
	}{
		{"stopping what runs of Plumb", u.stop},
		{"making Applications let go of their objects", u.orphan},
		{"taking the marks away", u.strip},
		{"removing Applications", u.removeAPIs},
		{"removing what is left of Plumb", u.removeParts},
	} {
		p.step(step.what)
		if err := step.do(ctx, found); err != nil {
			return fmt.Errorf("%w; what was done stays done, run it again to go on", err)
		}
	}
	fmt.Fprintf(u.env.Out, "Plumb is removed; %d objects stay as they were\n", found.owned())
	return nil
}

func (u *uninstall) ask() error {
	if u.yes {
		return nil
	}
	if !u.env.onTerminal(u.env.In) {
		return fmt.Errorf("there is no terminal to ask on; if that is meant: --yes; %w", errUsage)
	}
	agreed, err := u.env.agreed("Remove Plumb from this cluster?")
	if err == nil && !agreed {
		err = fmt.Errorf("nothing was removed")
	}
	return err
}

func (u *uninstall) say(format string, args ...any) {
	fmt.Fprintf(u.env.Out, format+"\n", args...)
}
