package git_test

import (
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/pkg/git"
)

func TestTheTokenOfACredential(t *testing.T) {
	s, g, c := appSite(t)
	s.push(map[string]string{"f": "1"})
	for name, tt := range map[string]struct {
		credential git.Credential
		want       string
	}{
		"none":             {},
		"a bearer token":   {git.Bearer("b34rer\n"), "b34rer"},
		"a password":       {git.Basic("someone", "pa55"), "pa55"},
		"an App's, minted": {s.credential, "minted"},
	} {
		got, err := s.store.Token(t.Context(), tt.credential)
		if tt.want == "minted" {
			g.do(func() {
				if !g.good[got] {
					t.Errorf("%s: %q was never minted", name, got)
				}
			})
			tt.want = got
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, tt.want)
		}
	}
	s.fetch("main") // shares the token
	if g.tokens() != 1 {
		t.Errorf("%d tokens were minted, want 1", g.tokens())
	}
	c.add(56 * time.Minute)
	if _, err := s.store.Token(t.Context(), s.credential); err != nil || g.tokens() != 2 {
		t.Errorf("an old token is used: %d minted, %v", g.tokens(), err)
	}
}
