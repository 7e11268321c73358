package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/plan"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
	"github.com/plumb-gitops/plumb/pkg/source"
)

// maxApplication is the largest file with an Application in bytes.
const maxApplication = 1 << 20

func newRender(Env) *cobra.Command {
	var file, dir, configFile string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "render -f app.yaml [--dir TREE]",
		Short: "Print what would be applied, as YAML, without a cluster",
		Long: `Render the source of an Application as the worker does, under the same limits,
and print the objects as they would be applied, in the order of the render.

With --dir the tree on disk is rendered, as if it were the root of the repository.
Without it the repository is fetched, with the git section of --config when it
is given. Kinds that are neither built in nor defined in the tree are taken as
namespaced.`,
		Example: `  plumb render -f app.yaml --dir ~/config
  plumb render -f app.yaml --dir . | kubectl diff -f -
  plumb render -f app.yaml --config plumb.yaml      # fetches spec.source.repo`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := readApplication(file, c.InOrStdin())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			tree, done, err := treeOf(ctx, a, dir, configFile)
			if err != nil {
				return err
			}
			defer done()
			set, err := rendered(ctx, a, tree, c.ErrOrStderr())
			if err != nil {
				return err
			}
			return printSet(c.OutOrStdout(), set)
		},
	}
	c.Flags().StringVarP(&file, "filename", "f", "", "`file` with the Application; - reads standard input")
	c.Flags().StringVar(&dir, "dir", "", "`directory` to render instead of spec.source.repo")
	c.Flags().StringVar(&configFile, "config", "", "configuration `file` whose git section is used to fetch")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long fetching and rendering may take")
	c.MarkFlagsMutuallyExclusive("dir", "config")
	return c
}

func readApplication(file string, stdin io.Reader) (*v1alpha1.Application, error) {
	if file == "" {
		return nil, fmt.Errorf("name the file of an Application with -f; %w", errUsage)
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read Application: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxApplication))
	if err != nil {
		return nil, fmt.Errorf("read Application: %w", err)
	}
	a, err := parseApplication(raw)
	if err != nil {
		return nil, fmt.Errorf("read Application: %s: %w", file, err)
	}
	return a, nil
}

var (
	errNoApplication = fmt.Errorf("want apiVersion %s/%s, kind Application and a metadata.name", v1alpha1.Group, v1alpha1.Version)
	errDocuments     = errors.New("want one YAML document with one Application, and found more")
)

// parseApplication refuses other kinds, and fields that the API server would
// refuse or drop, by their path.
func parseApplication(raw []byte) (*v1alpha1.Application, error) {
	raw, err := onlyDocument(raw)
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	var says metav1.TypeMeta
	if kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &says) != nil || says.GroupVersionKind() != v1alpha1.GroupVersionKind {
		return nil, errNoApplication
	}
	a := &v1alpha1.Application{}
	unknown, err := kjson.UnmarshalStrict(asJSON, a)
	if err := errors.Join(append([]error{err}, unknown...)...); err != nil {
		return nil, err
	}
	if a.Name == "" {
		return nil, errNoApplication
	}
	if a.Namespace == "" {
		a.Namespace = "default"
	}
	return a, nil
}

// onlyDocument is the document of a file that has one; the YAML parser would pass
// over any others in silence.
func onlyDocument(raw []byte) ([]byte, error) {
	var only []byte
	for in := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
		document, err := in.Read()
		switch {
		case errors.Is(err, io.EOF):
			return only, nil
		case err != nil:
			return nil, err
		case len(bytes.TrimSpace(document)) == 0:
		case only != nil:
			return nil, errDocuments
		default:
			only = document
		}
	}
}

// treeOf opens the directory, or fetches the repository into one of its own.
func treeOf(ctx context.Context, a *v1alpha1.Application, dir, configFile string) (tree render.Tree, done func(), err error) {
	if dir != "" {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("open tree: %w", err)
		}
		// os.Root follows no link out of the directory, and its FS is documented to have these methods.
		return root.FS().(render.Tree), func() { _ = root.Close() }, nil
	}
	c := config.Default()
	if configFile != "" {
		if c, err = config.Load(configFile, "git"); err != nil {
			return nil, nil, err
		}
	}
	return fetched(ctx, a, c.Git)
}

func fetched(ctx context.Context, a *v1alpha1.Application, c config.Git) (_ render.Tree, done func(), err error) {
	if a.Spec.Source.Semver != "" || a.Spec.Source.Verify != nil {
		return nil, nil, errors.New("fetch: spec.source.semver and spec.source.verify do not work yet; remove them, or give a tree with --dir")
	}
	u, err := git.ParseURL(a.Spec.Source.Repo, c.InsecureHosts)
	if err != nil {
		return nil, nil, fmt.Errorf("read spec.source.repo: %w; give the configuration that allows it with --config, or a tree with --dir", err)
	}
	credential, err := source.Policy{Git: c}.Credential(ctx, a, u, nil, "") // of the configuration: there is no cluster to read a Secret from
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "plumb-render-")
	if err != nil {
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	store, err := git.Open(dir, git.Options{})
	if err != nil {
		remove()
		return nil, nil, fmt.Errorf("fetch: %w", err)
	}
	done = func() { _ = store.Close(); remove() }
	commit, err := store.Fetch(ctx, git.Query{URL: u, Ref: a.Spec.Source.Ref, Credential: credential})
	if err == nil {
		tree, err := store.Tree(ctx, u, commit.SHA)
		if err == nil {
			return tree, done, nil
		}
	}
	done()
	return nil, nil, err
}

func rendered(ctx context.Context, a *v1alpha1.Application, tree render.Tree, notes io.Writer) (object.Set, error) {
	r := render.New(render.Options{})
	defer r.Close()
	q := render.Request{Tree: tree, Source: a.Spec.Source, Name: a.Name, Namespace: a.TargetNamespace()}
	if s := a.Spec.Source.Substitute; s != nil {
		q.Variables = substitute.Merge(s.Vars) // what a cluster holds is not known here
	}
	result, err := r.Render(ctx, q)
	if err != nil {
		return object.Set{}, err
	}
	return plan.Prepare(result.Objects, a, scopes(notes))
}

func printSet(w io.Writer, set object.Set) error {
	for _, o := range set.All() {
		text, err := yaml.Marshal(o.Content())
		if err != nil {
			return fmt.Errorf("print %s: %w", o.ID().Human(), err)
		}
		if _, err := fmt.Fprintf(w, "---\n# %s\n%s", cell(o.Place().String()), text); err != nil {
			return err
		}
	}
	return nil
}
