package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// block is a code block of a page: its language and its text.
var block = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// The page of ApplicationSets: what its blocks print is what plumb generate prints.
func TestTheApplicationSetPageIsTrue(t *testing.T) {
	const file = "../../docs/applicationset.md"
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
		case "txtar":
			for _, f := range txtar.Parse([]byte(m[2])).Files {
				writeFile(t, filepath.Join(dir, f.Name), string(f.Data))
			}
		case "console":
			command, _, _ := strings.Cut(m[2], "\n")
			tried++
			return "```console\n" + command + "\n" + console(t, dir, command) + "```"
		}
		return text
	})
	if *update {
		if err := os.WriteFile(file, []byte(next), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), next); diff != "" || tried < 2 {
		t.Errorf("%d commands tried; run go test ./pkg/cli -run ApplicationSetPage -update:\n%s", tried, diff)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// console runs a command line of the page as if it were run in dir.
func console(t *testing.T, dir, command string) string {
	t.Helper()
	args := strings.Fields(strings.TrimPrefix(command, "$ plumb "))
	for i, a := range args {
		switch {
		case a == ".":
			args[i] = dir
		case strings.HasSuffix(a, ".yaml"):
			args[i] = filepath.Join(dir, a)
		}
	}
	code, out, errs := plumb(t, nil, "", args...)
	if code != 0 {
		t.Errorf("%s: %s", command, errs)
	}
	return out
}

func TestGenerateSaysWhatIsWrong(t *testing.T) {
	const head = "apiVersion: plumb.dev/v1alpha1\nkind: ApplicationSet\nmetadata: {name: a}\nspec:\n"
	const template = "  template: {metadata: {name: '{{ .name }}'}, spec: {source: {repo: 'https://a/b'}}}\n"
	list := head + "  generators: [{list: {elements: [{name: a}]}}]\n" + template
	git := head + "  generators: [{gitFiles: {repo: 'https://a/b', files: ['*.yaml']}}]\n" + template
	cases := map[string]struct {
		text string
		args []string
		code int
		says string
	}{
		"it works":                 {list, nil, 0, ""},
		"no file":                  {list, []string{"-f", ""}, 2, "name the file of an ApplicationSet"},
		"an Application":           {application, nil, 1, "kind ApplicationSet"},
		"an unknown field":         {strings.Replace(list, "list:", "lists:", 1), nil, 1, `unknown field "spec.generators[0].lists"`},
		"a key that stands twice":  {list + "  template: {}\n", nil, 1, `key "template" already set`},
		"two documents":            {list + "---\n" + list, nil, 1, "want one YAML document"},
		"Git without a tree":       {git, nil, 1, "spec.generators[0].gitFiles: give the tree of the repository with --dir"},
		"a tree that is not there": {git, []string{"--dir", "/none/there"}, 1, "open tree"},
		"a bad file":               {git, []string{"--dir", tree(t, "-- x.yaml --\nname: [\n")}, 1, "spec.generators[0].gitFiles: x.yaml: document 1: yaml: line"},
		"a link that leaves":       {git, []string{"--dir", linked(t)}, 0, ""},
		"an odd label":             {list, []string{"--label", "env"}, 2, "want name=value"},
		"a template that fails":    {strings.Replace(list, ".name", ".nam", 1), nil, 1, `spec.template.metadata.name: template line 1:3`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, _, errs := plumb(t, nil, c.text, append([]string{"generate", "-f", "-"}, c.args...)...)
			if code != c.code || !strings.Contains(errs, c.says) {
				t.Errorf("exit code %d, %q; want %d and %q", code, errs, c.code, c.says)
			}
		})
	}
}

// linked is a tree with a link out of it, which is no file of parameters.
func linked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "x.yaml")); err != nil {
		t.Fatal(err)
	}
	return dir
}
