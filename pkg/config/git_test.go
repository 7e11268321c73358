package config_test

import (
	"testing"

	"github.com/plumb-gitops/plumb/pkg/config"
)

func TestWhoMayUseACredential(t *testing.T) {
	git := config.Git{Credentials: []config.Credential{
		{Prefix: "https://h/acme", Namespaces: []string{"*"}},
		{Prefix: "https://h/acme/secret/", Namespaces: []string{"team-a"}},
	}}
	for sentence, c := range map[string]struct{ url, namespace, want string }{
		"the prefix itself":                        {"https://h/acme", "x", "https://h/acme"},
		"below the prefix":                         {"https://h/acme/web", "x", "https://h/acme"},
		"the longest prefix":                       {"https://h/acme/secret/web", "team-a", "https://h/acme/secret/"},
		"the longest that the namespace may use":   {"https://h/acme/secret/web", "team-b", "https://h/acme"},
		"another owner whose name begins alike":    {"https://h/acme-evil/web", "x", ""},
		"another host whose name begins alike":     {"https://h.evil/acme/web", "x", ""},
		"another scheme":                           {"http://h/acme/web", "x", ""},
		"a namespace whose name begins alike":      {"https://h/acme/secret/web", "team-ab", "https://h/acme"},
		"the prefix inside another host's address": {"https://evil/https://h/acme", "x", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, found := git.Credential(c.url, c.namespace)
			if got.Prefix != c.want || found != (c.want != "") {
				t.Errorf("got %q, %v; want %q", got.Prefix, found, c.want)
			}
		})
	}
}

func TestWhoMayUseARepository(t *testing.T) {
	some := []config.Source{
		{Prefix: "https://h/acme", Namespaces: []string{"*"}},
		{Prefix: "https://h/acme/secret", Namespaces: []string{"team-a"}},
	}
	for sentence, c := range map[string]struct {
		sources        []config.Source
		url, namespace string
		want           bool
	}{
		"no sources: everybody everything":      {nil, "https://x/y", "a", true},
		"the only prefix that fits":             {some, "https://h/acme/web", "a", true},
		"the longest prefix, for its namespace": {some, "https://h/acme/secret", "team-a", true},
		"the longest prefix decides":            {some, "https://h/acme/secret/x", "team-b", false},
		"no prefix fits":                        {some, "https://h/other", "team-a", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := (config.Git{Sources: c.sources}).Allows(c.url, c.namespace); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestCanonicalFollowsAnAlias(t *testing.T) {
	git := config.Git{Aliases: map[string]string{"git.local/acme/config": "github.com/acme/config"}}
	for _, repo := range []string{"git.local/acme/config", "github.com/acme/config"} {
		if got := git.Canonical(repo); got != "github.com/acme/config" {
			t.Errorf("%s: got %s", repo, got)
		}
	}
}
