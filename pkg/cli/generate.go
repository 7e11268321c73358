package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/generate"
)

// preview is what plumb generate is told beside the set.
type preview struct {
	file, dir, cluster string
	labels             []string
	timeout            time.Duration
}

func newGenerate(Env) *cobra.Command {
	var p preview
	c := &cobra.Command{
		Use:   "generate -f set.yaml [--dir TREE]",
		Short: "Print the Applications of an ApplicationSet, as YAML, without a cluster",
		Long: `Expand an ApplicationSet as the worker does, under the same limits, and print its
Applications by name, each with the element that it comes of. Nothing is written
anywhere.

Generators that read Git read the tree of --dir, whichever repository and ref they
name. The clusters generator yields --cluster with the labels of --label.`,
		Example: `  plumb generate -f set.yaml --dir .
  plumb generate -f set.yaml --cluster prod --label env=prod --label region=eu
  plumb generate -f set.yaml --dir . | kubectl diff -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), p.timeout)
			defer cancel()
			return p.run(ctx, c.InOrStdin(), c.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&p.file, "filename", "f", "", "`file` with the ApplicationSet; - reads standard input")
	c.Flags().StringVar(&p.dir, "dir", "", "`directory` that Git generators read")
	c.Flags().StringVar(&p.cluster, "cluster", "local", "`name` of the cluster")
	c.Flags().StringArrayVar(&p.labels, "label", nil, "label of the cluster, as in `env=prod`; may be repeated")
	c.Flags().DurationVar(&p.timeout, "timeout", time.Minute, "how long it may take")
	return c
}

func (p preview) run(ctx context.Context, stdin io.Reader, out io.Writer) error {
	set, err := readSet(p.file, stdin)
	if err != nil {
		return err
	}
	in := generate.Input{Set: set, Cluster: generate.Cluster{Name: p.cluster, Labels: map[string]string{}}}
	for _, l := range p.labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return fmt.Errorf("--label %s: want name=value; %w", l, errUsage)
		}
		in.Cluster.Labels[name] = value
	}
	var close func()
	if in.Read, close, err = treeReader(p.dir); err != nil {
		return err
	}
	defer close()
	result, err := generate.Expand(ctx, in)
	if err != nil {
		return err
	}
	return printApplications(out, result.Applications)
}

var errNoTree = errors.New("give the tree of the repository with --dir")

// treeReader reads one directory for every source.
func treeReader(dir string) (read func(context.Context, generate.Source) (generate.Tree, string, error), done func(), err error) {
	if dir == "" {
		return func(context.Context, generate.Source) (generate.Tree, string, error) { return nil, "", errNoTree }, func() {}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open tree: %w", err)
	}
	// os.Root follows no link out of the directory, and its FS is documented to have these methods.
	tree := root.FS().(generate.Tree)
	return func(context.Context, generate.Source) (generate.Tree, string, error) { return tree, dir, nil }, func() { _ = root.Close() }, nil
}

var errNoSet = fmt.Errorf("want apiVersion %s/%s, kind ApplicationSet and a metadata.name", v1alpha1.Group, v1alpha1.Version)

func readSet(file string, stdin io.Reader) (*v1alpha1.ApplicationSet, error) {
	if file == "" {
		return nil, fmt.Errorf("name the file of an ApplicationSet with -f; %w", errUsage)
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read ApplicationSet: %w", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxApplication))
	if err != nil {
		return nil, fmt.Errorf("read ApplicationSet: %w", err)
	}
	set, err := parseSet(raw)
	if err != nil {
		return nil, fmt.Errorf("read ApplicationSet: %s: %w", file, err)
	}
	return set, nil
}

// parseSet refuses other kinds, and fields that the API server would refuse or drop.
func parseSet(raw []byte) (*v1alpha1.ApplicationSet, error) {
	raw, err := onlyDocument(raw)
	if err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	var says metav1.TypeMeta
	if kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &says) != nil || says.GroupVersionKind() != v1alpha1.SetKind {
		return nil, errNoSet
	}
	set := &v1alpha1.ApplicationSet{}
	unknown, err := kjson.UnmarshalStrict(asJSON, set)
	if err := errors.Join(append([]error{err}, unknown...)...); err != nil {
		return nil, err
	}
	if set.Name == "" {
		return nil, errNoSet
	}
	if set.Namespace == "" {
		set.Namespace = "default"
	}
	return set, nil
}

func printApplications(w io.Writer, all []generate.Application) error {
	var out bytes.Buffer
	for _, a := range all {
		text, err := yaml.Marshal(a.Object.Object)
		if err != nil {
			return fmt.Errorf("print Application %s: %w", a.Object.GetName(), err)
		}
		fmt.Fprintf(&out, "---\n# %s\n%s", cell(a.Place), text)
	}
	_, err := w.Write(out.Bytes())
	return err
}
