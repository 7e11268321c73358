// Package deploy tests what is in deploy/: the Kubernetes base on a real API
// server, under the rights it grants, and (with the tag compose, since it needs a
// container engine) the images and docker-compose.yaml on a real engine.
package deploy

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/integration/kubetest"
	"github.com/plumb-gitops/plumb/pkg/render/child"
)

func TestMain(m *testing.M) {
	if child.Main() {
		return
	}
	os.Exit(kubetest.Main(m))
}

// root is the top of the tree.
const root = "../.."

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// setup runs deploy/setup as people do, and returns the directory of secrets and
// what it printed.
func setup(t *testing.T, args ...string) (dir, out string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "secrets")
	cmd := exec.Command("go", append([]string{"run", "./deploy/setup", "--dir", dir}, args...)...)
	cmd.Dir = root
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("deploy/setup: %v\n%s", err, stderr.String())
	}
	return dir, stdout.String()
}

func read(t testing.TB, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return strings.TrimSpace(string(content))
}

// free is an address on loopback that nobody uses now.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// replace changes text that must be there.
func replace(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("there is no %q in:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// cut splits a resource from its subresource.
func cut(resource string) (name, sub string) {
	name, sub, _ = strings.Cut(resource, "/")
	return name, sub
}

func unless(ok bool) error {
	if !ok {
		return errors.New("it is not so yet")
	}
	return nil
}
