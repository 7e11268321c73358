package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/chart"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/reconcile"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/service/worker"
	"github.com/plumb-gitops/plumb/pkg/source"
	"github.com/plumb-gitops/plumb/pkg/source/parameters"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// renderInput is what a render is made of beside the Application.
type renderInput struct {
	dir, configFile string
	sources         []string // name=DIR
	vars            []string // name=value
	varsFrom, keys  []string // files
	notes           io.Writer
}

// chartName is the name of the chart of spec.source.helm among sources.
const chartName = "chart"

func (in *renderInput) flags(c *cobra.Command) {
	c.Flags().StringVar(&in.dir, "dir", "", "`directory` to render instead of spec.source.repo")
	c.Flags().StringArrayVar(&in.sources, "source", nil, "directory to take for one of spec.sources, as in `values=DIR`; may be repeated")
	c.Flags().StringVar(&in.configFile, "config", "", "configuration `file` whose git section is used to fetch")
	c.Flags().StringArrayVar(&in.vars, "var", nil, "variable of spec.source.substitute, over all others, as in `region=eu`; may be repeated")
	c.Flags().StringArrayVar(&in.varsFrom, "vars-from", nil, "`file` with ConfigMaps and Secrets that the Application names; may be repeated")
	c.Flags().StringArrayVar(&in.keys, "keys", nil, "`file` with age or PGP private keys of spec.source.decryption; may be repeated")
}

// render goes the way of a sync, up to what would be planned.
func (in *renderInput) render(ctx context.Context, a *v1alpha1.Application) (object.Set, error) {
	c := config.Default()
	var err error
	if in.configFile != "" {
		if c, err = config.Load(in.configFile, "git"); err != nil {
			return object.Set{}, err
		}
	}
	if err := in.setVars(a); err != nil {
		return object.Set{}, err
	}
	named, err := in.named(a)
	if err != nil {
		return object.Set{}, err
	}
	given, done, err := in.given(a)
	defer done()
	if err != nil {
		return object.Set{}, err
	}
	assembler, closed, err := assembling(c.Git, named, given)
	if err != nil {
		return object.Set{}, err
	}
	defer closed()
	return in.rendered(ctx, a, assembler, named, c.Worker)
}

func (in *renderInput) rendered(ctx context.Context, a *v1alpha1.Application, assembler *source.Assembler, named *namedObjects, c config.Worker) (object.Set, error) {
	p := &progress{out: in.notes}
	defer p.step("")
	p.step("fetching what " + a.Key().String() + " is made of")
	made, err := assembler.Assemble(ctx, a, source.Freshness{})
	if err != nil {
		return object.Set{}, err
	}
	given, err := parameters.Of(ctx, a, named, named.read)
	if err != nil {
		return object.Set{}, err
	}
	p.step("rendering " + a.Key().String())
	r := worker.NewRenderer(c)
	defer r.Close()
	result, err := r.Render(ctx, parameters.Request(made, a, given, render.Capabilities{}))
	if err != nil {
		return object.Set{}, err
	}
	return plan.Prepare(result.Objects, a, scopes(in.notes))
}

// assembling fetches into a store that goes when it is done.
func assembling(c config.Git, named *namedObjects, given map[string]tree.Tree) (*source.Assembler, func(), error) {
	dir, err := os.MkdirTemp("", "plumb-render-")
	if err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	store, err := git.Open(dir, git.Options{})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	artifacts := oci.New(oci.Options{InsecureHosts: c.InsecureHosts})
	return &source.Assembler{
		Policy: source.Policy{Git: c, Catalog: named}, Store: store, Heads: reconcile.NewHeads(store, time.Now),
		Artifacts: artifacts, Charts: chart.New(artifacts, chart.Options{InsecureHosts: c.InsecureHosts}), Given: given,
	}, func() { _ = store.Close(); _ = os.RemoveAll(dir) }, nil
}

// setVars puts --var over the variables of the spec.
func (in *renderInput) setVars(a *v1alpha1.Application) error {
	s := a.Spec.Source.Substitute
	if len(in.vars) > 0 && s == nil {
		return fmt.Errorf("--var: the Application has no spec.source.substitute, so nothing is replaced; %w", errUsage)
	}
	for _, v := range in.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return fmt.Errorf("--var %s: want name=value; %w", cell(name), errUsage)
		}
		if s.Vars == nil {
			s.Vars = map[string]string{}
		}
		s.Vars[name] = value
	}
	return nil
}

// given opens the directories that stand in for what would be fetched.
func (in *renderInput) given(a *v1alpha1.Application) (given map[string]tree.Tree, done func(), err error) {
	given = map[string]tree.Tree{}
	var roots []*os.Root
	done = func() {
		for _, r := range roots {
			_ = r.Close()
		}
	}
	open := func(name, dir string) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return fmt.Errorf("open tree: %w", err)
		}
		roots = append(roots, root)
		given[name] = tree.Dir(root)
		return nil
	}
	if in.dir != "" {
		if err := open("", in.dir); err != nil {
			return given, done, err
		}
	}
	for _, s := range in.sources {
		name, dir, ok := strings.Cut(s, "=")
		if !ok || name == "" || dir == "" {
			return given, done, fmt.Errorf("--source %s: want name=DIR; %w", cell(s), errUsage)
		}
		if known := sourceNames(a); !slices.Contains(known, name) {
			return given, done, fmt.Errorf("--source %s: the Application has no such source, it has %s; %w", cell(name), or(strings.Join(known, ", "), "none"), errUsage)
		}
		if err := open(name, dir); err != nil {
			return given, done, err
		}
	}
	return given, done, nil
}

// sourceNames are the sources that a directory can be given for by name.
func sourceNames(a *v1alpha1.Application) []string {
	var names []string
	for _, s := range a.Spec.Sources {
		names = append(names, s.Name)
	}
	if helm := a.Spec.Source.Helm; helm != nil && helm.Chart != "" {
		names = append(names, chartName)
	}
	return names
}

// named reads the files with what the Application names of its cluster.
func (in *renderInput) named(a *v1alpha1.Application) (*namedObjects, error) {
	n := &namedObjects{objects: map[object.ID]map[string]any{}, keys: map[string][]byte{}}
	for _, file := range in.varsFrom {
		if err := n.load(file, a.Namespace); err != nil {
			return nil, fmt.Errorf("read --vars-from %s: %w", file, err)
		}
	}
	if len(in.keys) > 0 && a.Spec.Source.Decryption == nil {
		return nil, fmt.Errorf("--keys: the Application has no spec.source.decryption, so nothing is decrypted; %w", errUsage)
	}
	for _, file := range in.keys {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read --keys: %w", err)
		}
		n.keys[keyName(file, content)] = content
	}
	return n, n.complete(a)
}

// keyName is the key under which a Secret would hold the content of a file.
func keyName(file string, content []byte) string {
	ending := ".agekey"
	if strings.Contains(string(content), "-----BEGIN PGP") {
		ending = ".asc"
	}
	return filepath.Base(file) + ending
}
