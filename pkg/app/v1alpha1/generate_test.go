package v1alpha1_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGenerated holds what is checked in against what the markers say now.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	generate(t, "object", "output:object:dir="+dir)
	generate(t, "crd", "output:crd:dir="+dir)
	for checkedIn, fresh := range map[string]string{
		"zz_generated.deepcopy.go": "zz_generated.deepcopy.go",
		"crd.yaml":                 "plumb.dev_applications.yaml",
		"applicationset-crd.yaml":  "plumb.dev_applicationsets.yaml",
	} {
		if diff := cmp.Diff(read(t, checkedIn), read(t, filepath.Join(dir, fresh))); diff != "" {
			t.Errorf("%s is not what its markers say, run go generate ./pkg/app/v1alpha1 (-have +want):\n%s", checkedIn, diff)
		}
	}
}

func generate(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"tool", "-modfile=../../../proto/tools/go.mod", "controller-gen", "paths=."}, args...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("run controller-gen: %v\n%s", err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
