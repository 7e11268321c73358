package tree_test

import (
	"testing"

	"github.com/plumb-gitops/plumb/pkg/tree"
)

func TestBadNames(t *testing.T) {
	for name, bad := range map[string]bool{
		"": true, ".": true, "..": true, "a/b": true, `a\b`: true, "a\x00": true, "a\x7f": true, "\xff": true,
		".git": true, ".GIT": true, ".git.": true, ".git ": true, ".git::$INDEX_ALLOCATION": true, "git~1": true, ".g\u200cit": true,
		"...": false, ".gitignore": false, "git": false, "git~2": false, "a b": false, "é": false,
	} {
		if why := tree.BadName(name); (why != "") != bad {
			t.Errorf("%q: %q", name, why)
		}
	}
}
