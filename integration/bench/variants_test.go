package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/render"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	sourcetree "github.com/plumb-gitops/plumb/pkg/tree"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(m.Run())
}

// The floor of the plain case is that of the others only if they apply the same.
func TestEveryVariantIsTheSameObjects(t *testing.T) {
	renderer := render.New(render.Options{})
	t.Cleanup(renderer.Close)
	for _, v := range []variant{helm, kustomize} {
		t.Run(v.name, func(t *testing.T) {
			const i = 7
			files := map[string]sourcetree.File{}
			for name, content := range v.files(10, "two") {
				files[name] = sourcetree.File{Data: content}
			}
			sources, err := sourcetree.FromFiles(files)
			if err != nil {
				t.Fatal(err)
			}
			result, err := renderer.Render(t.Context(), render.Request{
				Tree: sources, Source: sourceOf(t, v, i), Name: appName(i), Namespace: "team",
				Capabilities: render.Capabilities{KubeVersion: "v1.37.2"},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []*unstructured.Unstructured
			for _, o := range result.Objects.All() {
				got = append(got, o.Unstructured())
			}
			if diff := cmp.Diff(textOf(t, objectsOf(i, "two")), textOf(t, got)); diff != "" {
				t.Errorf("objects (-plain +%s):\n%s", v.name, diff)
			}
		})
	}
}

// textOf is one line of JSON for each object, by kind.
func textOf(t *testing.T, objects []*unstructured.Unstructured) string {
	t.Helper()
	var lines []string
	for _, u := range objects {
		line, err := u.MarshalJSON() // numbers of all types are the same there
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func sourceOf(t *testing.T, v variant, i int) (s v1alpha1.Source) {
	t.Helper()
	text, err := json.Marshal(v.source(i))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
