package alert_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/plumb-gitops/plumb/pkg/alert"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/fault"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

func TestLinksToCommits(t *testing.T) {
	for repo, want := range map[string]string{
		"https://github.com/Acme/Config.git":            "https://github.com/Acme/Config/commit/" + sha,
		"git@github.com:Acme/Config.git":                "https://github.com/Acme/Config/commit/" + sha,
		"ssh://git@github.com/acme/config":              "https://github.com/acme/config/commit/" + sha,
		"ssh://git@github.com:22/acme/config":           "https://github.com/acme/config/commit/" + sha,
		"https://user:s3cret@github.com/acme/config":    "https://github.com/acme/config/commit/" + sha,
		"https://gitlab.example.com/a/b/c":              "https://gitlab.example.com/a/b/c/-/commit/" + sha,
		"https://gitea.example.com:3000/a/b.git":        "https://gitea.example.com:3000/a/b/commit/" + sha,
		"https://bitbucket.org/acme/config":             "https://bitbucket.org/acme/config/commits/" + sha,
		"https://git.example.com/scm/OPS/config.git":    "https://git.example.com/projects/OPS/repos/config/commits/" + sha,
		"https://example.com/scm/a/b/c":                 "https://example.com/scm/a/b/c/commit/" + sha,
		"https://github.com/acme/con|fig>":              "https://github.com/acme/con%7Cfig%3E/commit/" + sha,
		"http://git.local/acme/config":                  "",
		"ssh://git@git.example.com:2222/acme/config":    "",
		"file:///etc/passwd":                            "",
		"javascript:alert(1)//x/y":                      "",
		"javascript://github.com/%0aalert(1)":           "",
		"https://github.com/acme/config?x=javascript:1": "",
		"https://github.com/a\nb":                       "",
		"https://evil.example\\@github.com/acme/config": "",
		"":         "",
		"nonsense": "",
	} {
		m := alert.MessageOf(&eventsv1.Incident{Repo: repo, Revision: sha}, alert.Opened)
		if m.CommitURL != want {
			t.Errorf("%q: got %q, want %q", repo, m.CommitURL, want)
		}
		if strings.Contains(m.Repo, "s3cret") || strings.Contains(m.Repo, "user") {
			t.Errorf("the name of %q is %q", repo, m.Repo)
		}
	}
	for _, revision := range []string{"", "main", sha[:39], sha + "/../..", strings.ToUpper(sha), "../" + sha[3:]} {
		if m := alert.MessageOf(&eventsv1.Incident{Repo: "https://github.com/a/b", Revision: revision}, alert.Opened); m.CommitURL != "" {
			t.Errorf("a link for revision %q: %s", revision, m.CommitURL)
		}
	}
}

func TestTextsOfMessagesAreClean(t *testing.T) {
	for sentence, c := range map[string]struct{ raw, line, text string }{
		"line ends":       {"a\r\nb\rc\nd", "a b c d", "a\nb\nc\nd"},
		"other line ends": {"a\u2028b\u2029c\u0085d\vc", "a b c d c", "a b c d c"},
		"headers":         {"x\r\nSet-Cookie: a", "x Set-Cookie: a", "x\nSet-Cookie: a"},
		"control":         {"a\x00b\x1b[31mc\x7f", "a b [31mc", "a b [31mc"},
		"direction":       {"a\u202etxt.exe\u2066b\u200f", "atxt.exeb", "atxt.exeb"},
		"broken UTF-8":    {"a\xffb", "a\ufffdb", "a\ufffdb"},
		"white space":     {" \n a  b \n\n", "a b", " a  b"},
	} {
		m := alert.MessageOf(&eventsv1.Incident{Reason: c.raw, Message: c.raw}, alert.Opened)
		if string(m.Reason) != c.line || m.Text != c.text {
			t.Errorf("%s: line %q, text %q", sentence, m.Reason, m.Text)
		}
	}
	for _, one := range []string{"x", "漢", "🔥", "e\u0301"} {
		m := alert.MessageOf(&eventsv1.Incident{Message: strings.Repeat(one, 5000)}, alert.Opened)
		if n := utf8.RuneCountInString(m.Text); n != 2000 || !utf8.ValidString(m.Text) || !strings.HasSuffix(m.Text, "…") {
			t.Errorf("%q: %d characters, ending with %q", one, n, m.Text[len(m.Text)-5:])
		}
	}
}

// Every reason for which an attempt can fail comes with what to do.
func TestEveryReasonHasAnAdvice(t *testing.T) {
	unknown := alert.MessageOf(&eventsv1.Incident{Reason: "Odd"}, alert.Opened).Advice
	seen := map[string]fault.Reason{}
	for _, reason := range []fault.Reason{
		fault.SourceRefused, fault.FetchFailed, fault.RenderFailed, fault.ApplyFailed, fault.PruneBlocked, fault.HealthFailed,
		fault.HealthTimeout, fault.DependencyNotReady, fault.OwnershipConflict, fault.AccountMissing,
	} {
		m := alert.MessageOf(&eventsv1.Incident{Reason: string(reason)}, alert.Opened)
		if m.Advice == unknown || strings.Count(m.Advice, ".")-strings.Count(m.Advice, "spec.") < 1 || seen[m.Advice] != "" {
			t.Errorf("%s: %q, as %s", reason, m.Advice, seen[m.Advice])
		}
		seen[m.Advice] = reason
	}
	if unknown == "" {
		t.Error("nothing to do about an unknown reason")
	}
}

func TestStagesOfFailures(t *testing.T) {
	for reason, want := range map[string]string{
		"SourceRefused": "fetch", "FetchFailed": "fetch", "RenderFailed": "render", "ApplyFailed": "apply", "PruneBlocked": "prune",
		"HealthFailed": "health", "HealthTimeout": "health", "DependencyNotReady": "queue", "OwnershipConflict": "apply", "Odd": "apply",
	} {
		if got := fold(finished(1, "failed", "permanent", reason)).GetStage(); got != want {
			t.Errorf("%s: %s, want %s", reason, got, want)
		}
	}
}

func TestRoutesLead(t *testing.T) {
	routes := alert.Routes{
		{To: []string{"all"}},
		{Match: config.Match{Namespaces: []string{"*"}}, To: []string{"ops"}},
		{Match: config.Match{Clusters: []string{"prod"}, Namespaces: []string{"team-*", "ops"}, Names: []string{"web?"}}, To: []string{"pager", "ops"}},
	}
	for _, c := range []struct {
		cluster, namespace, name string
		want                     string
	}{
		{"prod", "team-a", "web1", "all ops pager"},
		{"prod", "ops", "web2", "all ops pager"},
		{"prod", "team-a", "web", "all ops"},
		{"edge", "team-a", "web1", "all ops"},
		{"prod", "other", "web1", "all ops"},
	} {
		var got []string
		for _, channel := range []string{"all", "ops", "pager", "nobody"} {
			if routes.Lead(c.cluster, c.namespace, c.name, channel) {
				got = append(got, channel)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s/%s/%s: %v, want %s", c.cluster, c.namespace, c.name, got, c.want)
		}
	}
}

func FuzzLinksAreHTTPSOrNothing(f *testing.F) {
	for _, repo := range []string{"https://github.com/a/b", "git@h:a/b", "javascript:alert(1)", "https://[::1]/a/b", "https://h/%2e%2e/a"} {
		f.Add(repo, sha)
	}
	f.Fuzz(func(t *testing.T, repo, revision string) {
		got := alert.MessageOf(&eventsv1.Incident{Repo: repo, Revision: revision}, alert.Opened).CommitURL
		if got != "" && (!strings.HasPrefix(got, "https://") || strings.ContainsAny(got, " <>|\"\n\r\\@")) {
			t.Errorf("%q, %q: %q", repo, revision, got)
		}
	})
}
