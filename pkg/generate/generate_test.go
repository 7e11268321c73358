package generate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/generate"
)

var update = flag.Bool("update", false, "write what the cases give into testdata")

// Each case is a set.yaml, the files of repositories below tree/, and either the
// Applications (want) or the error (error) that comes of them.
func TestExpand(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			given, tree := split(archive)
			got := outcome(t, given["set.yaml"], tree)
			if *update {
				rewrite(t, file, archive, got)
				return
			}
			if diff := cmp.Diff(map[string]string{"want": given["want"], "error": given["error"]}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func split(archive *txtar.Archive) (given map[string]string, tree fstest.MapFS) {
	given, tree = map[string]string{}, fstest.MapFS{}
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "tree/"); ok {
			tree[name] = &fstest.MapFile{Data: f.Data}
		} else {
			given[f.Name] = string(f.Data)
		}
	}
	return given, tree
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	var kept []txtar.File
	for _, f := range archive.Files {
		if f.Name != "want" && f.Name != "error" {
			kept = append(kept, f)
		}
	}
	for _, name := range []string{"want", "error"} {
		if got[name] != "" {
			kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	archive.Files = kept
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, text string) *v1alpha1.ApplicationSet {
	t.Helper()
	set := &v1alpha1.ApplicationSet{}
	if err := yaml.UnmarshalStrict([]byte(text), set); err != nil {
		t.Fatalf("set of the test: %v", err)
	}
	set.Namespace, set.Name = "team-a", "set"
	return set
}

func input(set *v1alpha1.ApplicationSet, tree fstest.MapFS) generate.Input {
	return generate.Input{
		Set:     set,
		Cluster: generate.Cluster{Name: "eu-1", Labels: map[string]string{"env": "prod", "region": "eu"}},
		Read: func(_ context.Context, s generate.Source) (generate.Tree, string, error) {
			// A repository is a directory of the tree that is named as the end of its URL.
			sub, err := fs.Sub(tree, s.Repo[strings.LastIndex(s.Repo, "/")+1:])
			return sub.(generate.Tree), "at-" + s.Ref, err
		},
	}
}

func outcome(t *testing.T, text string, tree fstest.MapFS) map[string]string {
	t.Helper()
	result, err := generate.Expand(t.Context(), input(parse(t, text), tree))
	if err != nil {
		if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.GenerateFailed {
			t.Errorf("class %s, reason %q", class, fault.ReasonOf(err))
		}
		if len(result.Applications) > 0 {
			t.Error("an expansion that failed gave Applications")
		}
		return map[string]string{"error": err.Error() + "\n", "want": ""}
	}
	var out bytes.Buffer
	for _, a := range result.Applications {
		text, err := yaml.Marshal(a.Object.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "# %s\n%s---\n", a.Place, text)
	}
	return map[string]string{"want": out.String(), "error": ""}
}

// list is a set of one list element whose Application has the given value file.
func list(parameters, text string) *v1alpha1.ApplicationSet {
	set := &v1alpha1.ApplicationSet{}
	set.Namespace, set.Name = "team-a", "set"
	g := v1alpha1.Generator{}
	g.List = &v1alpha1.ListGenerator{Elements: []apiextensionsv1.JSON{{Raw: []byte(parameters)}}}
	set.Spec.Generators = []v1alpha1.Generator{g}
	set.Spec.Template.Metadata.Name = "web"
	spec, _ := json.Marshal(map[string]any{"source": map[string]any{"repo": "https://a/b", "ref": text}})
	set.Spec.Template.Spec = apiextensionsv1.JSON{Raw: spec}
	return set
}

// rendered is what a template gives over parameters.
func rendered(ctx context.Context, parameters, text string) (string, error) {
	result, err := generate.Expand(ctx, generate.Input{Set: list(parameters, text)})
	if err != nil {
		return "", err
	}
	return result.Applications[0].Object.Object["spec"].(map[string]any)["source"].(map[string]any)["ref"].(string), nil
}
