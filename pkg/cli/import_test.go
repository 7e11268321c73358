package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const argoApplication = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: web, namespace: argocd}
spec:
  project: default
  destination: {server: https://kubernetes.default.svc, namespace: web}
  source: {repoURL: https://git.example.com/acme/apps, path: web}
  syncPolicy: {automated: {prune: true, selfHeal: false}}
`

const argoList = `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
  "metadata": {"name": "a", "namespace": "argocd"}, "spec": {"project": "default", "destination": {"name": "in-cluster"},
  "source": {"repoURL": "https://git.example.com/a/b", "helm": {"valuesObject": {"big": 9007199254740993}}}}}]}`

// importTest is one command line and what comes of it.
type importTest struct {
	args  []string
	stdin string
	code  int
	out   []string // parts of the output
	errs  []string // parts of what is told
	not   []string // what is in neither
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"argo/app.yaml":         argoApplication,
		"argo/templates/x.yaml": "{{ if }}: [",
		"argo/.git/y.yaml":      strings.ReplaceAll(argoApplication, "name: web,", "name: hidden,"),
		"plugin.yaml":           strings.ReplaceAll(argoApplication, "path: web}", "path: web, plugin: {name: x}}"),
		"lost.yaml":             argoApplication + "  revisionHistoryLimit: 3\n",
		"list.json":             argoList,
		"deployment.yaml":       "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	file := at("argo/app.yaml")
	tests := map[string]importTest{
		"a file": {
			args: []string{"argocd", "-f", file}, out: []string{"kind: Application\nmetadata:\n  name: web\n  namespace: argocd", "mode: manual", "drift: warn"},
			errs: []string{"note: Application argocd/web: spec.syncPolicy.automated.selfHeal: became sync.drift: warn\n"},
		},
		"standard input": {args: []string{"argocd", "-f", "-"}, stdin: argoApplication, out: []string{"name: web"}},
		"a directory": {
			args: []string{"argocd", "-f", at("argo")}, out: []string{"name: web"},
			errs: []string{"x.yaml, document 1: it is no YAML mapping is passed over"}, not: []string{"hidden"},
		},
		"a list with large numbers": {args: []string{"argocd", "-f", at("list.json")}, out: []string{"big: 9007199254740993"}},
		"another namespace":         {args: []string{"argocd", "-f", file, "--to", "team", "--service-account", "deployer"}, out: []string{"namespace: team", "serviceAccountName: deployer"}},
		"the mode of the tool":      {args: []string{"argocd", "-f", file, "--auto"}, out: []string{"drift: warn"}, not: []string{"mode:"}},
		"what cannot be converted": {
			args: []string{"argocd", "-f", at("plugin.yaml")}, code: 1, not: []string{"kind: Application\n"},
			errs: []string{"failed: Application argocd/web: spec.source.plugin.name: has no counterpart", "plumb: something could not be converted"},
		},
		"what is lost": {args: []string{"argocd", "-f", at("lost.yaml")}, errs: []string{"lost: Application argocd/web: spec.revisionHistoryLimit"}},
		"what is lost, strictly": {
			args: []string{"argocd", "-f", at("lost.yaml"), "--strict"}, code: 1, out: []string{"name: web"}, errs: []string{"plumb: something has no counterpart"},
		},
		"notes alone, strictly":    {args: []string{"argocd", "-f", file, "--strict"}},
		"objects of nobody":        {args: []string{"argocd", "-f", at("deployment.yaml")}, code: 1, errs: []string{"plumb: nothing of Argo CD is in what was read"}},
		"objects of another tool":  {args: []string{"flux", "-f", file}, code: 1, errs: []string{"plumb: nothing of Flux is in what was read"}},
		"a file that is not there": {args: []string{"flux", "-f", "gone.yaml"}, code: 1, errs: []string{"plumb: read objects: stat gone.yaml"}},
		"no YAML":                  {args: []string{"flux", "-f", "-"}, stdin: "canary: [", code: 1, errs: []string{"standard input, document 1: it is no YAML mapping"}, not: []string{"canary"}},
		"an unknown format":        {args: []string{"flux", "-f", file, "-o", "table"}, code: 2, errs: []string{"use yaml or json"}},
		"a file and a namespace":   {args: []string{"flux", "-f", file, "-n", "x"}, code: 2},
		"an unknown tool":          {args: []string{"spinnaker"}, code: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.run(t) })
	}
}

func (tt importTest) run(t *testing.T) {
	t.Helper()
	code, out, errs := plumb(t, nil, tt.stdin, append([]string{"import"}, tt.args...)...)
	if code != tt.code {
		t.Errorf("exit code %d, want %d\n%s", code, tt.code, errs)
	}
	for _, want := range tt.out {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	for _, want := range tt.errs {
		if !strings.Contains(errs, want) {
			t.Errorf("what is told lacks %q:\n%s", want, errs)
		}
	}
	for _, not := range tt.not {
		if strings.Contains(out+errs, not) {
			t.Errorf("%q is there:\n%s%s", not, out, errs)
		}
	}
}

func TestImportWritesJSON(t *testing.T) {
	code, out, _ := plumb(t, nil, argoApplication, "import", "argocd", "-f", "-", "-o", "json")
	var list struct{ Items []struct{ Kind string } }
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Items) != 1 || list.Items[0].Kind != "Application" {
		t.Errorf("code %d, %v:\n%s", code, err, out)
	}
}

// The page of moving in: what its console prints is what plumb import says and prints.
func TestTheMovingPageIsTrue(t *testing.T) {
	const file = "../../docs/moving-in.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, tried := t.TempDir(), 0
	next := block.ReplaceAllStringFunc(string(page), func(text string) string {
		m := block.FindStringSubmatch(text)
		switch m[1] {
		case "yaml":
			name, _, _ := strings.Cut(strings.TrimPrefix(m[2], "# "), "\n")
			writeFile(t, filepath.Join(dir, name), m[2])
		case "console":
			command, _, _ := strings.Cut(m[2], "\n")
			_, out, errs := plumb(t, nil, "", strings.Fields(strings.ReplaceAll(strings.TrimPrefix(command, "$ plumb "), "argocd.yaml", filepath.Join(dir, "argocd.yaml")))...)
			tried++
			return "```console\n" + command + "\n" + errs + out + "```"
		}
		return text
	})
	if *update {
		if err := os.WriteFile(file, []byte(next), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), next); diff != "" || tried < 1 {
		t.Errorf("%d commands tried; run go test ./pkg/cli -run MovingPage -update:\n%s", tried, diff)
	}
}
