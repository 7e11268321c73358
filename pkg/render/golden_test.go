package render_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"helm.sh/helm/v4/pkg/chart/common"
	helmcmd "helm.sh/helm/v4/pkg/cmd"
	"sigs.k8s.io/kustomize/kustomize/v5/commands/build"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
)

// goldenTrees is how many trees have to be compared, at least half of them by each
// renderer.
const goldenTrees = 40

// golden is a tree, what we are asked and what the others are asked.
type golden struct {
	Source      v1alpha1.Source `json:"source"`
	ChartPath   string          `json:"chartPath"`   // of ours
	APIVersions []string        `json:"apiVersions"` // beside those of Kubernetes
	// Build is the directory that kustomize builds, where it is another than ours: an
	// overlay that says as a kustomization what the source says as an Application.
	Build string `json:"build"`
	tree  fstest.MapFS
}

const (
	goldenName        = "web"
	goldenNamespace   = "team-a"
	goldenKubeVersion = "v1.36.1"
)

func readGolden(t *testing.T, file string) golden {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := yaml.UnmarshalStrict(archive.Comment, &g); err != nil {
		t.Fatal(err)
	}
	g.tree = treeOf(packed(t, archive.Files))
	return g
}

// packed makes an archive x.tgz of the files x.tgz!/….
func packed(t *testing.T, files []txtar.File) []txtar.File {
	t.Helper()
	inside := map[string][]txtar.File{}
	var out []txtar.File
	for _, f := range files {
		archive, name, found := strings.Cut(f.Name, "!/")
		if !found {
			out = append(out, f)
			continue
		}
		inside[archive] = append(inside[archive], txtar.File{Name: name, Data: f.Data})
	}
	for name, content := range inside {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		w := tar.NewWriter(zip)
		for _, f := range content {
			err := w.WriteHeader(&tar.Header{Name: f.Name, Mode: 0o644, Size: int64(len(f.Data))})
			if _, e := w.Write(f.Data); err != nil || e != nil {
				t.Fatal(err, e)
			}
		}
		if err := errors.Join(w.Close(), zip.Close()); err != nil {
			t.Fatal(err)
		}
		out = append(out, txtar.File{Name: name, Data: b.Bytes()})
	}
	return out
}

// TestRenderEqualsTheCommands compares each tree of testdata/golden, rendered by us
// in a child, with what kustomize build and helm template print of it on a disk, byte
// for byte once both are brought into canonical order.
func TestRenderEqualsTheCommands(t *testing.T) {
	r := newRenderer(t, render.Options{})
	compared := 0
	for renderer, command := range map[string]func(*testing.T, golden, string) []object.Object{
		render.Kustomize: kustomizeBuild, render.Helm: helmTemplate,
	} {
		files, err := filepath.Glob("testdata/golden/" + renderer + "/*.txtar")
		if err != nil || len(files) < goldenTrees/2 {
			t.Errorf("%d trees of %s (%v), want %d at least", len(files), renderer, err, goldenTrees/2)
		}
		for _, file := range files {
			name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".txtar"), "-", " ")
			t.Run(renderer+"/"+name, func(t *testing.T) {
				g := readGolden(t, file)
				ours := g.render(t, r, renderer)
				dir := t.TempDir()
				if err := os.CopyFS(dir, g.tree); err != nil {
					t.Fatal(err)
				}
				theirs := command(t, g, dir)
				if len(ours) == 0 || len(theirs) == 0 {
					t.Fatalf("we render %d objects, the command %d", len(ours), len(theirs))
				}
				if diff := gocmp.Diff(canonical(t, inPhases(theirs)), canonical(t, plain(ours))); diff != "" {
					t.Errorf("the command (-) and we (+) differ:\n%s", diff)
				}
				compared++
			})
		}
	}
	if compared < goldenTrees && !partial() {
		t.Errorf("%d trees were compared, want %d at least", compared, goldenTrees)
	}
}

// partial is true when -run picks single trees.
func partial() bool {
	return slices.ContainsFunc(os.Args, func(arg string) bool {
		return strings.HasPrefix(arg, "-test.run=") && strings.Contains(arg, "/")
	})
}

func (g golden) render(t *testing.T, r *render.Renderer, want string) []object.Object {
	t.Helper()
	result, err := r.Render(t.Context(), render.Request{
		Tree: g.tree, Source: g.Source, ChartPath: g.ChartPath, Name: goldenName, Namespace: goldenNamespace,
		Capabilities: render.Capabilities{
			KubeVersion: goldenKubeVersion,
			APIVersions: append(slices.Clone(common.DefaultVersionSet), g.APIVersions...),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Renderer != want {
		t.Fatalf("rendered by %s, want %s", result.Renderer, want)
	}
	return result.Objects.All()
}

// kustomizeBuild is "kustomize build", the command itself.
func kustomizeBuild(t *testing.T, g golden, dir string) []object.Object {
	t.Helper()
	var out bytes.Buffer
	command := build.NewCmdBuild(filesys.MakeFsOnDisk(), build.MakeHelp("kustomize", "build"), &out)
	command.SetArgs([]string{filepath.Join(dir, cmp.Or(g.Build, g.Source.Path))})
	if err := command.Execute(); err != nil {
		t.Fatalf("kustomize build: %v", err)
	}
	return parseOutput(t, out.Bytes())
}

// helmTemplate is "helm template", the command itself.
func helmTemplate(t *testing.T, g golden, dir string) []object.Object {
	t.Helper()
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	chart, release := cmp.Or(g.ChartPath, g.Source.Path), goldenName
	if spec := g.Source.Helm; spec != nil {
		release = cmp.Or(spec.ReleaseName, release)
	}
	args := []string{
		"template", release, filepath.Join(dir, chart),
		"--namespace", goldenNamespace, "--kube-version", goldenKubeVersion, "--skip-tests",
	}
	for _, version := range g.APIVersions {
		args = append(args, "--api-versions", version)
	}
	args = append(args, g.helmArgs(t, dir)...)
	var out bytes.Buffer
	command, err := helmcmd.NewRootCmd(&out, args, func(bool) {})
	if err != nil {
		t.Fatal(err)
	}
	command.SetArgs(args)
	if err := command.Execute(); err != nil {
		t.Fatalf("helm template: %v", err)
	}
	return parseOutput(t, out.Bytes())
}

func (g golden) helmArgs(t *testing.T, dir string) []string {
	t.Helper()
	spec := g.Source.Helm
	if spec == nil {
		return []string{"--include-crds"}
	}
	var args []string
	if !spec.SkipCRDs {
		args = append(args, "--include-crds")
	}
	for _, name := range spec.ValueFiles {
		file := filepath.Join(dir, g.Source.Path, name)
		if strings.HasPrefix(name, "$") {
			file = filepath.Join(dir, name)
		}
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && spec.IgnoreMissingValueFiles {
			continue
		}
		args = append(args, "--values", file)
	}
	if spec.Values != nil {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, spec.Values.Raw, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--values", file)
	}
	return args
}

func parseOutput(t *testing.T, text []byte) []object.Object {
	t.Helper()
	objects, err := (&manifest.Parser{Lenient: true}).Parse("output.yaml", text)
	if err != nil {
		t.Fatalf("parse what the command printed: %v\n%s", err, text)
	}
	return objects
}

// canonical is one line of JSON with sorted keys for each object, the lines sorted.
func canonical(t *testing.T, objects []object.Object) string {
	t.Helper()
	objects = slices.Clone(objects)
	slices.SortFunc(objects, func(a, b object.Object) int { return cmp.Compare(a.ID().String(), b.ID().String()) })
	var out strings.Builder
	for _, o := range objects {
		line, err := json.Marshal(o.Content())
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	return out.String()
}
