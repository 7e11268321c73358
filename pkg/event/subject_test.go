package event

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func TestTokens(t *testing.T) {
	x := strings.Repeat("x", 200)
	for name, c := range map[string]struct{ name, want string }{
		"letters, digits, dash and underscore stay": {"aZ09_-", "aZ09_-"},
		"empty":                     {"", "="},
		"a dot":                     {"web.v2", "web=2Ev2"},
		"a repository":              {"github.com/acme/config", "github=2Ecom=2Facme=2Fconfig"},
		"a port":                    {"git.local:8443/x", "git=2Elocal=3A8443=2Fx"},
		"wildcards":                 {"*.>", "=2A=2E=3E"},
		"blank, CR, LF, NUL":        {" \r\n\x00", "=20=0D=0A=00"},
		"the escape itself":         {"a=2Eb", "a=3D2Eb"},
		"unicode, byte by byte":     {"\u00fc\u20ac", "=C3=BC=E2=82=AC"},
		"bytes that are not text":   {"\xff\xfe", "=FF=FE"},
		"150 characters stay":       {x[:150], x[:150]},
		"151 are cut":               {x[:151], x[:100] + "=-8eb827e6964db1e28caafb07b408d441"},
		"50 escapes stay":           {strings.Repeat(".", 50), strings.Repeat("=2E", 50)},
		"51 escapes are cut":        {strings.Repeat(".", 51), strings.Repeat("=2E", 33) + "=-"},
		"no escape is cut in two":   {x[:98] + strings.Repeat(".", 30), x[:98] + "=-"},
		"an escape that fits stays": {x[:97] + strings.Repeat(".", 30), x[:97] + "=2E=-"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Token(c.name)
			if strings.HasSuffix(c.want, "=-") { // the digest is another case's matter
				got = got[:len(got)-32]
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

var token = regexp.MustCompile(`^(=|([A-Za-z0-9_-]|=[0-9A-F]{2})+(=-[0-9a-f]{32})?)$`)

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "a.b", "*", ">", "\r\n\x00", "=2E", "=", strings.Repeat("\u00e9", 80), strings.Repeat("x", 149) + "."} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		ta, tb := Token(a), Token(b)
		if !token.MatchString(ta) || len(ta) > maxToken {
			t.Errorf("token %q of %q", ta, a)
		}
		if (ta == tb) != (a == b) {
			t.Errorf("tokens %q and %q of %q and %q", ta, tb, a, b)
		}
	})
}

func TestEveryTypeHasItsSubject(t *testing.T) {
	for kind, c := range map[Type]struct {
		data          proto.Message
		bus, ofTheBus string
	}{
		GitPush:           {&eventsv1.GitPush{Repo: "h/a.b"}, "plumb.events.git.push.h=2Fa=2Eb", "h/a.b"},
		GitRouted:         {&eventsv1.GitRouted{Repo: "h/a"}, "plumb.events.git.routed.h=2Fa", "h/a"},
		GitPullRequest:    {&eventsv1.GitPullRequest{Repo: "h/a"}, "plumb.events.git.pullrequest.h=2Fa", "h/a"},
		ImagePush:         {&eventsv1.ImagePush{Registry: "r:5000", Repository: "a/b"}, "plumb.events.image.push.r=3A5000=2Fa=2Fb", "r:5000/a/b"},
		SyncRequested:     {&eventsv1.SyncRequested{Cluster: "c", Namespace: "n", Name: "a.b"}, "plumb.sync.c.n.a=2Eb", "n/a.b"},
		SyncStarted:       {&eventsv1.SyncStarted{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.sync", "n/a"},
		SyncFinished:      {&eventsv1.SyncFinished{Cluster: "c", Namespace: "n", Name: "a", Repo: "h/a"}, "plumb.events.app.c.n.a.sync", "n/a"},
		HealthChanged:     {&eventsv1.HealthChanged{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.health", "n/a"},
		DriftFound:        {&eventsv1.DriftFound{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.drift", "n/a"},
		DriftHealed:       {&eventsv1.DriftHealed{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.drift", "n/a"},
		ImageUpdated:      {&eventsv1.ImageUpdated{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.commit", "n/a"},
		RollbackCommitted: {&eventsv1.RollbackCommitted{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.commit", "n/a"},
		PreviewReady:      {&eventsv1.PreviewReady{Cluster: "c", Namespace: "n", Name: "a"}, "plumb.events.app.c.n.a.preview", "n/a"},
		AlertSent:         {&eventsv1.AlertSent{Incident: "i/1", Channel: "ops.eu"}, "plumb.events.alert.ops=2Eeu", "i/1"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			subject, err := Event{Type: kind, Data: c.data}.BusSubject()
			if err != nil || subject != c.bus {
				t.Errorf("subject %q, error %v, want %q", subject, err, c.bus)
			}
			if got := SubjectOf(c.data); got != c.ofTheBus {
				t.Errorf("CloudEvents subject %q, want %q", got, c.ofTheBus)
			}
		})
		delete(untested, kind)
	}
	for kind := range untested {
		t.Errorf("%s is not in the table", kind)
	}
}

var untested = func() map[Type]bool {
	all := map[Type]bool{}
	for kind := range kinds {
		all[kind] = true
	}
	return all
}()

func TestDataOfAnotherTypeHasNoSubject(t *testing.T) {
	for name, e := range map[string]Event{
		"data of another type": {Type: GitPush, Data: &eventsv1.GitRouted{}},
		"no data":              {Type: GitPush},
		"an unknown type":      {Type: "dev.plumb.git.push.v2", Data: &eventsv1.GitPush{}},
	} {
		if subject, err := e.BusSubject(); err == nil {
			t.Errorf("%s: subject %q", name, subject)
		}
	}
}

func TestNoSubjectIsTooLongForNATS(t *testing.T) {
	long := strings.Repeat("\u20ac", 5000)
	subject, err := Event{Type: SyncStarted, Data: &eventsv1.SyncStarted{Cluster: long, Namespace: long, Name: long}}.BusSubject()
	if err != nil || len(subject) > 4096-1024 || strings.Count(subject, ".") != 6 {
		t.Errorf("%d bytes, error %v", len(subject), err)
	}
}
