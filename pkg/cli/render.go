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
	"github.com/plumb-gitops/plumb/pkg/object"
)

// maxApplication is the largest file with an Application in bytes.
const maxApplication = 1 << 20

func newRender(env Env) *cobra.Command {
	var in renderInput
	var file string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "render -f app.yaml [--dir TREE]",
		Short: "Print what would be applied, as YAML, without a cluster",
		Long: `Render an Application as the worker does, under the same limits, and print the objects
as they would be applied, in the order of the render, the marks of ownership included.
What is printed holds the values of Secrets.

With --dir the tree on disk is rendered, as if it were the root of spec.source.repo.
All else that the Application is made of (spec.sources, charts and what they depend
on) is fetched, with the git section of --config when it is given, unless --source
names a directory for it: --source chart=DIR for the chart of spec.source.helm. With
--dir, and for such directories, no signature is verified.

What a worker reads of its cluster is given in files: the ConfigMaps and Secrets of
spec.source.substitute, spec.source.verify and secretRef with --vars-from, keys of
spec.source.decryption with --keys. Kinds that are neither built in nor defined in the
tree are taken as namespaced.`,
		Example: `  plumb render -f app.yaml --dir ~/config
  plumb render -f app.yaml --dir . | kubectl diff -f -
  plumb render -f app.yaml --config plumb.yaml      # fetches spec.source.repo
  plumb render -f app.yaml --dir . --source values=../values --source chart=../charts/web
  plumb render -f app.yaml --dir . --vars-from cluster.yaml --var region=eu --keys age.agekey`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := readApplication(file, c.InOrStdin())
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			in.notes = env.Err
			set, err := in.render(ctx, a)
			if err != nil {
				return err
			}
			return printSet(c.OutOrStdout(), set)
		},
	}
	c.Flags().StringVarP(&file, "filename", "f", "", "`file` with the Application; - reads standard input")
	in.flags(c)
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long fetching and rendering may take")
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
