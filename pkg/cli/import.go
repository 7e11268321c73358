package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/moving"
	"github.com/plumb-gitops/plumb/pkg/moving/argocd"
	"github.com/plumb-gitops/plumb/pkg/moving/flux"
)

// tool is one that people move away from.
type tool struct {
	name, title string
	namespace   string // where its objects are by custom
	reads       string
	examples    string
	kinds       []listed
	convert     func([]map[string]any, moving.Options) moving.Result
}

// listed is a kind that is read from a cluster, in the first version that it serves.
type listed struct {
	group, kind, labels string
	versions            []string
	name                string // only this one
}

var tools = []tool{
	{
		name: "argocd", title: "Argo CD", namespace: "argocd", convert: argocd.Convert,
		reads: "Applications, ApplicationSets, AppProjects and the Secrets of repositories",
		examples: `  plumb import argocd > plumb.yaml                     # of namespace argocd of the cluster
  plumb import argocd -f apps/ --to team-a --service-account deployer
  plumb import argocd --repo https://github.com/acme/values --apply`,
		kinds: []listed{
			{group: "argoproj.io", kind: "Application", versions: []string{"v1alpha1"}},
			{group: "argoproj.io", kind: "ApplicationSet", versions: []string{"v1alpha1"}},
			{group: "argoproj.io", kind: "AppProject", versions: []string{"v1alpha1"}},
			{kind: "Secret", versions: []string{"v1"}, labels: "argocd.argoproj.io/secret-type in (repository,repo-creds)"},
			{kind: "ConfigMap", versions: []string{"v1"}, name: "argocd-ssh-known-hosts-cm"},
		},
	},
	{
		name: "flux", title: "Flux", namespace: "flux-system", convert: flux.Convert,
		reads: "Kustomizations, HelmReleases and their sources",
		examples: `  plumb import flux -A > plumb.yaml                    # of all namespaces of the cluster
  plumb import flux -f clusters/prod --to team-a
  plumb import flux -n apps --repo https://github.com/acme/values --apply`,
		kinds: []listed{
			{group: "kustomize.toolkit.fluxcd.io", kind: "Kustomization", versions: []string{"v1", "v1beta2", "v1beta1"}},
			{group: "helm.toolkit.fluxcd.io", kind: "HelmRelease", versions: []string{"v2", "v2beta2", "v2beta1"}},
			{group: "source.toolkit.fluxcd.io", kind: "GitRepository", versions: []string{"v1", "v1beta2", "v1beta1"}},
			{group: "source.toolkit.fluxcd.io", kind: "OCIRepository", versions: []string{"v1", "v1beta2"}},
			{group: "source.toolkit.fluxcd.io", kind: "HelmRepository", versions: []string{"v1", "v1beta2", "v1beta1"}},
			{group: "source.toolkit.fluxcd.io", kind: "HelmChart", versions: []string{"v1", "v1beta2", "v1beta1"}},
			{group: "source.toolkit.fluxcd.io", kind: "Bucket", versions: []string{"v1", "v1beta2", "v1beta1"}},
		},
	},
}

// move is one use of plumb import.
type move struct {
	tool
	env                Env
	files              []string
	namespace, output  string
	all, apply, strict bool
	kubeconfig         string
	timeout            time.Duration
	options            moving.Options
	client             *cluster.Client // nil while no cluster was asked for
	progress           *progress
}

func newImport(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Turn the Applications of Argo CD or Flux into Plumb's",
		Long: `Turn the objects of another tool into Applications of Plumb, and say what has no
counterpart. docs/moving-in.md tells how to move without touching what runs.`,
		Example: "  plumb import argocd\n  plumb import flux -A",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, t := range tools {
		c.AddCommand(newImportOf(env, t))
	}
	return c
}

func newImportOf(env Env, t tool) *cobra.Command {
	m := &move{tool: t, env: env}
	c := &cobra.Command{
		Use:   t.name + " [-f FILE|DIR|-]",
		Short: "Turn the objects of " + t.title + " into Plumb's",
		Long: fmt.Sprintf(`Read %s,
from files or from the cluster, and print the Applications of Plumb that do the same.
Nothing of %s is changed.

Every field of the input is in what is printed, or named on the error stream: "note"
tells how it is done here, "lost" what has no counterpart or is yours to do, "failed"
what could not be converted. Applications are made with sync.mode: manual, so that
nothing is written before somebody has seen plumb diff and said plumb sync; --auto keeps
the mode of %s. Values of Secrets are only printed with --secrets.

The exit code is 1 when something failed; with --strict also when something is lost.`, t.reads, t.title, t.title),
		Example: t.examples,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if given := c.Flags().Changed; given("namespace") && (m.all || len(m.files) > 0) || m.all && len(m.files) > 0 {
				return fmt.Errorf("give one of --filename, --namespace and --all-namespaces; %w", errUsage)
			}
			ctx, cancel := context.WithTimeout(c.Context(), m.timeout)
			defer cancel()
			return m.run(ctx)
		},
	}
	m.flags(c)
	return c
}

func (m *move) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVarP(&m.files, "filename", "f", nil, "`file` or directory to read instead of the cluster; - reads standard input; may be repeated")
	f.StringVarP(&m.namespace, "namespace", "n", m.tool.namespace, "`namespace` of the cluster to read")
	f.BoolVarP(&m.all, "all-namespaces", "A", false, "read all namespaces of the cluster")
	f.StringVarP(&m.output, "output", "o", "yaml", "`format`: yaml or json")
	f.BoolVar(&m.apply, "apply", false, "create what is made in the cluster, instead of printing it; what exists is left as it is")
	f.StringVar(&m.options.Namespace, "to", "", "`namespace` of what is made; without it that of the object it is made of")
	f.StringVar(&m.options.Account, "service-account", "", "`name` for spec.serviceAccountName, where "+m.title+" has none")
	f.StringVar(&m.options.Repo, "repo", "", "`URL` of the Git repository for Applications that have only a chart of a Helm repository")
	f.StringVar(&m.options.Ref, "ref", "", "`branch` or tag of --repo")
	f.BoolVar(&m.options.Auto, "auto", false, "keep the mode of "+m.title+": what is synced by itself there is synced at once")
	f.BoolVar(&m.options.Secrets, "secrets", false, "make Secrets too, with their values")
	f.BoolVar(&m.strict, "strict", false, "exit code 1 also when something is lost")
	if m.name == "argocd" {
		f.StringVar(&m.options.Destination, "destination", "", "`name` or URL of the cluster whose Applications are made; without it the one Argo CD runs in")
	}
	f.StringVar(&m.kubeconfig, "kubeconfig", "", "`file`; without it KUBECONFIG, then ~/.kube/config")
	f.DurationVar(&m.timeout, "timeout", 5*time.Minute, "how long it may take")
}

func (m *move) run(ctx context.Context) error {
	if m.output != "yaml" && m.output != "json" {
		return fmt.Errorf("output %q is not known, use yaml or json; %w", m.output, errUsage)
	}
	m.progress = &progress{out: m.env.Err}
	defer m.progress.step("")
	objects, err := m.read(ctx)
	if err != nil {
		return err
	}
	result := m.convert(objects, m.options)
	if result, err = m.more(ctx, objects, result); err != nil {
		return err
	}
	m.progress.step("")
	if len(result.Objects)+len(result.Notes) == 0 {
		return fmt.Errorf("nothing of %s is in what was read", m.title)
	}
	for _, n := range result.Notes {
		fmt.Fprintln(m.env.Err, cell(n.String()))
	}
	if m.apply {
		err = m.create(ctx, result.Objects)
	} else {
		err = printMoved(m.env.Out, m.output, result.Objects)
	}
	return errors.Join(err, m.verdict(result))
}

// verdict is what the exit code says.
func (m *move) verdict(r moving.Result) error {
	switch worst := r.Worst(); {
	case worst == moving.Failed:
		fmt.Fprintln(m.env.Err, "plumb: something could not be converted; see the lines that begin with failed")
		return errTold
	case worst == moving.Lost && m.strict:
		fmt.Fprintln(m.env.Err, "plumb: something has no counterpart; see the lines that begin with lost")
		return errTold
	}
	return nil
}

func printMoved(w io.Writer, output string, objects []map[string]any) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": append([]map[string]any{}, objects...)})
	}
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("print %s: %w", moving.Name(o), err)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}
