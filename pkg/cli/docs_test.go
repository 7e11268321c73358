package cli_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/commands.md")

// docs/commands.md is what the commands say themselves.
func TestTheCommandsPageIsWhatTheCommandsSay(t *testing.T) {
	const path = "../../docs/commands.md"
	var page bytes.Buffer
	page.WriteString(`# Commands

What each command says with ` + "`--help`" + `. This page is written by
` + "`go test ./pkg/cli -run CommandsPage -update`" + ` and held by the same test.

Exit codes: 0 when it was done, 1 when it failed, 2 when the command line is wrong. Those of plumb diff are its own.
`)
	for _, command := range [][]string{{}, {"up"}, {"get"}, {"sync"}, {"diff"}, {"confirm"}, {"suspend"}, {"resume"}, {"events"}, {"render"}, {"generate"}, {"uninstall"}, {"import"}, {"import", "argocd"}, {"import", "flux"}, {"crds"}, {"bus"}, {"bus", "apply"}, {"version"}, {"completion"}} {
		_, help, _ := plumb(t, nil, "", append(command, "--help")...)
		name := strings.Join(append([]string{"plumb"}, command...), " ")
		page.WriteString("\n## " + name + "\n```\n" + strings.TrimSpace(help) + "\n```\n")
	}
	if *update {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), page.String()); diff != "" {
		t.Errorf("run go test ./pkg/cli -run CommandsPage -update:\n%s", diff)
	}
}
