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
		"the same owner in other letters":          {"https://H/ACME/web.git", "x", "https://h/acme"},
		"a secret owner in other letters":          {"https://h/acme/SECRET/web", "team-b", "https://h/acme"},
		"the default port":                         {"https://h:443/acme/web", "x", "https://h/acme"},
		"another port":                             {"https://h:8443/acme/web", "x", ""},
		"a path with dots":                         {"https://h/acme/../evil", "x", ""},
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
		"in other letters no less":              {some, "https://h/Acme/SECRET.git", "team-b", false},
		"over another scheme, which none names": {some, "ssh://git@h/acme/web", "team-a", false},
		"a whole host":                          {[]config.Source{{Prefix: "https://h/", Namespaces: []string{"a"}}}, "https://h/acme/web", "a", true},
		"no prefix fits":                        {some, "https://h/other", "team-a", false},
	} {
		t.Run(sentence, func(t *testing.T) {
			if got := (config.Git{Sources: c.sources}).Allows(c.url, c.namespace); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
