// Package pkg_test holds the rules between packages that docs/architecture.md
// tells: floors, bans with their reasons, and names.
package pkg_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/plumb-gitops/plumb/"

// floors is the table of docs/architecture.md. A package may import those of
// lower floors only. A package that is not listed belongs to the nearest listed
// one above it, and the packages of one family may import each other.
var floors = [][]string{
	{"fault", "app", "failpoint"},
	{"object", "event", "app/v1alpha1", "telemetry", "tree", "fields", "egress"},
	{"config", "bus", "webhook", "git", "health", "inventory", "generate", "render", "cluster", "ignore", "oci", "policy", "dependency", "checks"},
	{"service", "catalog", "route", "plan", "chart", "moving"},
	{"apply", "source"},
	{"report", "sets"},
	{"reconcile", "alert"},
	{"service/receiver", "service/worker", "service/driftscanner", "service/alerter", "service/dashboard"},
	{"cli"},
}

// owned are modules that only some packages may import.
var owned = []struct {
	module string
	by     []string
	reason string
}{
	{"github.com/nats-io/nats.go", []string{"bus"}, "only one place may acknowledge a message"},
	{"github.com/nats-io/nats-server", []string{"bus/embedded"}, "the server is linked by plumb up alone"},
	{"github.com/go-git/go-git", []string{"git"}, "its traps (shallow fetch, redirects, links) are closed in one place"},
	{"k8s.io/client-go", []string{"cluster", "catalog"}, "identities, limits and error classes are decided in one place"},
	{"github.com/google/go-github", []string{"webhook"}, "its payload types stay at the border"},
	{"helm.sh/helm", []string{"render"}, "charts are rendered in a child process only"},
	{"sigs.k8s.io/kustomize/api", []string{"render"}, "kustomizations are built in a child process only"},
	{"github.com/cloudevents/sdk-go", []string{"event", "bus"}, "the envelope is decided in one place"},
	{"connectrpc.com/connect", []string{"service/dashboard", "cli"}, "the API is the dashboard's, its client the CLI"},
	{"github.com/spf13/cobra", []string{"cli"}, "services take --config only"},
}

// unlinked are modules that a binary must not contain, however deep.
var unlinked = []struct {
	binaries []string
	modules  []string
	reason   string
}{
	{
		[]string{"receiver", "alerter", "dashboard"},
		[]string{"k8s.io/client-go", "github.com/go-git/go-git", "helm.sh/helm"},
		"it holds no cluster and no Git, and is open to the outside",
	},
	{
		[]string{"receiver", "alerter", "dashboard", "worker", "drift-scanner"},
		[]string{"github.com/nats-io/nats-server"},
		"the bus is another process there",
	},
	{
		[]string{"drift-scanner"},
		[]string{"helm.sh/helm", "sigs.k8s.io/kustomize/api"},
		"it compares and asks, and renders nothing",
	},
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// list asks the go command once for all packages of pkg/ and services/.
func list(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports,Deps", "./pkg/...", "./services/...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	packages := map[string]goPackage{}
	for in := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[strings.TrimPrefix(p.ImportPath, module)] = p
	}
}

// family returns the listed package that name (below pkg/) belongs to.
func family(name string) (listed string, floor int, ok bool) {
	for ; name != "."; name = path.Dir(name) {
		for floor, names := range floors {
			if slices.Contains(names, name) {
				return name, floor, true
			}
		}
	}
	return "", 0, false
}

func within(importPath, module string) bool {
	rest, ok := strings.CutPrefix(importPath, module)
	return ok && (rest == "" || rest[0] == '/')
}

func TestImports(t *testing.T) {
	packages := list(t)
	t.Run("point to lower floors", func(t *testing.T) { pointDown(t, packages) })
	t.Run("stay with their owners", func(t *testing.T) { stayOwned(t, packages) })
	t.Run("do not reach binaries that must not link them", func(t *testing.T) { stayOut(t, packages) })
	t.Run("find packages with names", func(t *testing.T) { haveNames(t, packages) })
	t.Run("have no effects", func(t *testing.T) { haveNoInit(t, packages) })
}

func pointDown(t *testing.T, packages map[string]goPackage) {
	for name, p := range packages {
		name, inside := strings.CutPrefix(name, "pkg/")
		if !inside {
			continue
		}
		from, floor, ok := family(name)
		if !ok {
			t.Errorf("pkg/%s has no floor; give it one here and in docs/architecture.md", name)
			continue
		}
		for _, i := range p.Imports {
			imported, ours := strings.CutPrefix(i, module+"pkg/")
			to, below, ok := family(imported)
			if ours && ok && to != from && below >= floor {
				t.Errorf("pkg/%s (floor %d) imports pkg/%s (floor %d); data flows one way, from lower floors up", name, floor, imported, below)
			}
		}
	}
}

func stayOwned(t *testing.T, packages map[string]goPackage) {
	for name, p := range packages {
		for _, rule := range owned {
			mine := slices.ContainsFunc(rule.by, func(owner string) bool { return within(name, "pkg/"+owner) })
			for _, i := range p.Imports {
				if !mine && within(i, rule.module) {
					t.Errorf("%s imports %s, which only %s may: %s", name, i, strings.Join(rule.by, " and "), rule.reason)
				}
			}
		}
	}
}

func stayOut(t *testing.T, packages map[string]goPackage) {
	for _, rule := range unlinked {
		for _, binary := range rule.binaries {
			p, ok := packages["services/"+binary]
			if !ok {
				t.Errorf("services/%s is not there", binary)
				continue
			}
			for _, d := range p.Deps {
				for _, m := range rule.modules {
					if within(d, m) {
						t.Errorf("services/%s links %s: %s", binary, d, rule.reason)
					}
				}
			}
		}
	}
}

func haveNames(t *testing.T, packages map[string]goPackage) {
	for name := range packages {
		for _, part := range strings.Split(name, "/") {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared"}, part) {
				t.Errorf("%s: name it after what it owns", name)
			}
		}
	}
}

func haveNoInit(t *testing.T, packages map[string]goPackage) {
	files := token.NewFileSet()
	for _, p := range packages {
		for _, f := range p.GoFiles {
			parsed, err := parser.ParseFile(files, filepath.Join(p.Dir, f), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			if ast.IsGenerated(parsed) {
				continue
			}
			for _, d := range parsed.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: func init; build it where the program is composed", files.Position(fn.Pos()))
				}
			}
		}
	}
}

// The page shows the same floors: each of its rows is `| floor | packages | owns |`.
func TestTheArchitecturePageShowsTheFloors(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (\\d+) \\| (`[^|]+`) \\|")
	name := regexp.MustCompile("`([^`]+)`")
	shown := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		for _, n := range name.FindAllStringSubmatch(m[2], -1) {
			shown[n[1]] = m[1]
		}
	}
	held := map[string]string{}
	for floor, names := range floors {
		for _, n := range names {
			held[n] = fmt.Sprint(floor)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(held)) {
		if shown[n] != held[n] {
			t.Errorf("%s is on floor %s here and on floor %q of the page", n, held[n], shown[n])
		}
		delete(shown, n)
	}
	for n := range shown {
		t.Errorf("%s is on the page and not here", n)
	}
}
