package receiver_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/service/receiver"
	"github.com/plumb-gitops/plumb/pkg/webhook"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

func TestADeliveryBecomesAnEvent(t *testing.T) {
	var out recorder
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{Cluster: "edge", Now: func() time.Time { return at }}))
	q := githubPush(t, addr, "github", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	q.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	got := send(t, q)

	id := "github/72d3162e-cc78-11e3-81ab-4c9367dc0958/0"
	if got.Status != http.StatusAccepted || !slices.Equal(got.Events, []string{id}) {
		t.Fatalf("answer %+v", got)
	}
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(got.Trace) || got.Trace == "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("trace %q is not one of the receiver's own", got.Trace)
	}
	if !slices.Equal(out.ids, []string{id}) {
		t.Errorf("message ids %v", out.ids)
	}
	e := out.events[0]
	if !strings.HasPrefix(e.Trace, "00-"+got.Trace+"-") {
		t.Errorf("the event's trace %s is not the answer's %s", e.Trace, got.Trace)
	}
	e.Trace = ""
	want := event.Event{ID: id, Source: "/edge/receiver", Type: event.GitPush, Subject: "github.com/codertocat/hello-world", Time: at,
		Data: &eventsv1.GitPush{Repo: "github.com/codertocat/hello-world", Ref: "refs/heads/master", After: "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
			Pusher: "Codertocat", Provider: "github", DeliveryId: "72d3162e-cc78-11e3-81ab-4c9367dc0958"}}
	if diff := cmp.Diff(want, e, protocmp.Transform()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestEveryRefOfAPushIsAnEventOfOneTrace(t *testing.T) {
	var out recorder
	addr, _ := serve(t, build(t, hooked(t, "bitbucket"), &out, receiver.Options{}))
	body := bytes.Replace(payload(t, "bitbucket/push"), []byte(`"changes":[`),
		[]byte(`"changes":[{"new": null, "old": {"type": "branch", "name": "gone", "target": {"hash": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}}},`), 1)
	q := github(t, addr, "bitbucket", "", "", body)
	q.Header.Set("X-Hub-Signature", sign(body))
	q.Header.Set("X-Event-Key", "repo:push")
	q.Header.Set("X-Request-UUID", "d08c")
	got := send(t, q)
	if want := []string{"bitbucket/d08c/0", "bitbucket/d08c/1"}; got.Status != http.StatusAccepted || !slices.Equal(got.Events, want) || !slices.Equal(out.ids, want) {
		t.Fatalf("answer %+v, message ids %v", got, out.ids)
	}
	if out.events[0].Trace != out.events[1].Trace {
		t.Error("the refs of one push are in two traces")
	}
}

func TestWithoutADeliveryIDNothingIsTakenForARepetition(t *testing.T) {
	var out recorder
	names := []string{"one", "two"}
	next := func() string { name := names[0]; names = names[1:]; return name }
	addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{NewID: next}))
	first, second := send(t, githubPush(t, addr, "github", "")), send(t, githubPush(t, addr, "github", ""))
	if !slices.Equal(first.Events, []string{"github/one/0"}) || !slices.Equal(second.Events, []string{"github/two/0"}) || first.Trace == second.Trace {
		t.Errorf("answers %+v, %+v", first, second)
	}
	if !slices.Equal(out.ids, []string{"", ""}) {
		t.Errorf("message ids %q", out.ids)
	}
}

// spoil changes a good delivery into one that must be refused.
type spoil func(t *testing.T, q *http.Request)

func header(name, value string) spoil {
	return func(_ *testing.T, q *http.Request) { q.Header.Set(name, value) }
}

func signed(body string) spoil {
	return func(t *testing.T, q *http.Request) {
		*q = *github(t, q.URL.Host, strings.TrimPrefix(q.URL.Path, "/hooks/"), "d", "push", []byte(body))
	}
}

func TestRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		spoil  spoil
		status int
		reason string
	}{
		"no signature":      {func(_ *testing.T, q *http.Request) { q.Header.Del("X-Hub-Signature-256") }, 401, "no such hook, or the request does not prove its secret"},
		"a wrong signature": {header("X-Hub-Signature-256", sign([]byte("x"))), 401, "no such hook, or the request does not prove its secret"},
		"SHA-1 only": {func(_ *testing.T, q *http.Request) {
			q.Header.Del("X-Hub-Signature-256")
			q.Header.Set("X-Hub-Signature", "sha1=00")
		}, 401, "no such hook, or the request does not prove its secret"},
		"another hook":                 {func(_ *testing.T, q *http.Request) { q.URL.Path = "/hooks/other" }, 401, "no such hook, or the request does not prove its secret"},
		"no hook":                      {func(_ *testing.T, q *http.Request) { q.URL.Path = "/hooks/" }, 404, "no such path; webhooks go to /hooks/<name>"},
		"another path":                 {func(_ *testing.T, q *http.Request) { q.URL.Path = "/healthz" }, 404, "no such path; webhooks go to /hooks/<name>"},
		"another method":               {func(_ *testing.T, q *http.Request) { q.Method = http.MethodPut }, 405, "method is not POST"},
		"gzip":                         {header("Content-Encoding", "gzip"), 415, "content encoding is not identity"},
		"text":                         {header("Content-Type", "text/plain"), 415, "content type is not one that this provider sends"},
		"not JSON":                     {signed("{"), 422, "payload is not JSON"},
		"null":                         {signed("null"), 422, "payload is not an object"},
		"an array in place of the ref": {signed(`{"ref": ["refs/heads/main"]}`), 422, "ref: is array, want string"},
		"a repository that is a file":  {signed(`{"ref": "refs/heads/main", "repository": {"clone_url": "file:///etc/s3cret"}}`), 422, "repository.clone_url: read repository URL: its scheme is none of https, http and ssh"},
	} {
		t.Run(what, func(t *testing.T) {
			var out recorder
			addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{}))
			q := githubPush(t, addr, "github", "d")
			c.spoil(t, q)
			got := send(t, q)
			if got.Status != c.status || got.Reason != c.reason || got.Events != nil {
				t.Errorf("answer %d %s; want %d %s", got.Status, got.Text, c.status, c.reason)
			}
			if out.count() != 0 {
				t.Errorf("published %v", out.events)
			}
		})
	}
}

func TestAuthenticButNotForUs(t *testing.T) {
	c := hooked(t, "github")
	c.Hooks[0].Repos = []string{"https://github.com/acme/*"}
	for what, one := range map[string]struct{ kind, file, reason string }{
		"a repository of others": {"push", "github/push", "github.com/codertocat/hello-world is not among the hook's repos"},
		"a ping":                 {"ping", "github/ping", "ping"},
		"another event":          {"issues", "github/push", `event "issues" is not used`},
	} {
		t.Run(what, func(t *testing.T) {
			var out recorder
			addr, _ := serve(t, build(t, c, &out, receiver.Options{}))
			got := send(t, github(t, addr, "github", "d", one.kind, payload(t, one.file)))
			if got.Status != http.StatusOK || got.Reason != one.reason || len(got.Events) != 0 || out.count() != 0 {
				t.Errorf("answer %+v, %d published", got, out.count())
			}
		})
	}
}

func TestCredentialsInURLsGoNowhere(t *testing.T) {
	var out recorder
	addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{}))
	body := bytes.ReplaceAll(payload(t, "github/push"), []byte("https://github.com/Codertocat/Hello-World.git"), []byte("https://u:s3cret@169.254.169.254/Codertocat/Hello-World.git"))
	got := send(t, github(t, addr, "github", "d", "push", body))
	if got.Status != http.StatusAccepted || strings.Contains(got.Text, "s3cret") {
		t.Fatalf("answer %+v", got)
	}
	ce, err := out.events[0].CloudEvent()
	if err != nil || strings.Contains(ce.String(), "s3cret") || out.events[0].Subject != "169.254.169.254/codertocat/hello-world" {
		t.Errorf("event %s, %v", ce, err)
	}
}

func TestEveryProviderProvesItselfInItsOwnWay(t *testing.T) {
	for name, c := range map[string]struct {
		file, path string
		headers    map[string]string // of a body; "sign" and "hex" stand for its signature
	}{
		"github":           {"github/push", "", map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sign"}},
		"gitlab":           {"gitlab/push", "", map[string]string{"X-Gitlab-Token": secret}},
		"gitea":            {"gitea/push", "", map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": "hex"}},
		"bitbucket":        {"bitbucket/push", "", map[string]string{"X-Event-Key": "repo:push", "X-Hub-Signature": "sign"}},
		"bitbucket-server": {"bitbucket-server/refs_changed", "", map[string]string{"X-Event-Key": "repo:refs_changed", "X-Hub-Signature": "sign"}},
		"generic":          {"", "", map[string]string{"X-Signature-256": "sign"}},
		"dockerhub":        {"dockerhub/push", "/" + secret, nil},
		"ghcr":             {"ghcr/package-docker", "", map[string]string{"X-GitHub-Event": "package", "X-Hub-Signature-256": "sign"}},
		"quay":             {"quay/push", "/" + secret, nil},
		"harbor":           {"harbor/push", "", map[string]string{"Authorization": secret}},
		"distribution":     {"distribution/push", "", map[string]string{"Authorization": "Bearer " + secret, "Content-Type": "application/vnd.docker.distribution.events.v2+json"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out recorder
			r := build(t, hooked(t, "github", "gitlab", "gitea", "bitbucket", "bitbucket-server", "generic", "dockerhub", "ghcr", "quay", "harbor", "distribution"), &out, receiver.Options{})
			body := []byte(`{"image": "nginx", "tag": "1"}`)
			if c.file != "" {
				body = payload(t, c.file)
			}
			if name == "ghcr" {
				body = bytes.Replace(body, []byte(`"name": "",`), []byte(`"name": "v1",`), 1)
			}
			q := httptest.NewRequest(http.MethodPost, "/hooks/"+name, bytes.NewReader(body))
			q.URL.Path += c.path
			q.Header.Set("Content-Type", "application/json")
			for header, value := range c.headers {
				value = map[string]string{"sign": sign(body), "hex": strings.TrimPrefix(sign(body), "sha256=")}[value] + map[bool]string{true: value}[value != "sign" && value != "hex"]
				q.Header.Set(header, value)
			}
			w := httptest.NewRecorder()
			r.ServeHTTP(w, q)
			if w.Code != http.StatusAccepted || out.count() != 1 {
				t.Errorf("answer %d %s, %d published", w.Code, w.Body, out.count())
			}
		})
	}
}

func TestProvidersAreThoseOfTheConfiguration(t *testing.T) {
	var names []string
	for _, p := range webhook.Providers() {
		names = append(names, p.Name())
	}
	if diff := cmp.Diff(config.Providers, names); diff != "" {
		t.Errorf("-configuration +webhook\n%s", diff)
	}
}

func TestAPanicStaysInItsRequest(t *testing.T) {
	calls := 0
	var log logBook
	p := receiver.PublisherFunc(func(context.Context, event.Event, string) (uint64, error) {
		if calls++; calls == 1 {
			panic("about s3cret")
		}
		return 1, nil
	})
	addr, _ := serve(t, build(t, hooked(t, "github"), p, receiver.Options{Log: log.logger(), Limits: receiver.Limits{InFlight: 1}}))
	if got := send(t, githubPush(t, addr, "github", "a")); got.Status != http.StatusInternalServerError || got.Reason != "internal error" {
		t.Errorf("answer %+v", got)
	}
	if got := send(t, githubPush(t, addr, "github", "a")); got.Status != http.StatusAccepted {
		t.Errorf("the next one: %+v", got)
	}
	if !strings.Contains(log.String(), "panic") || strings.Contains(log.String(), "s3cret") {
		t.Errorf("log %s", log.String())
	}
}

func TestFailedPublishIs503(t *testing.T) {
	for what, c := range map[string]struct {
		err   error
		after string
	}{
		"transient":            {errors.New("no responders"), "5"},
		"retry after":          {fault.After("", 90*time.Second, "draining"), "90"},
		"permanent, our fault": {fault.Refuse("", fault.Place{}, "stream does not fit"), "5"},
	} {
		t.Run(what, func(t *testing.T) {
			out := recorder{fail: c.err}
			addr, _ := serve(t, build(t, hooked(t, "github"), &out, receiver.Options{}))
			got := send(t, githubPush(t, addr, "github", "a"))
			if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != c.after || got.Reason != "events cannot be stored now" {
				t.Errorf("answer %+v", got)
			}
		})
	}
}

func TestNewRefusesHalfAConfiguration(t *testing.T) {
	good := hooked(t, "github").Hooks[0]
	for what, c := range map[string]struct {
		change func(*config.Hook)
		want   string
	}{
		"no secret file":      {func(h *config.Hook) { h.SecretFile = "/nonexistent/s" }, "set up hook github: read secret file /nonexistent/s: no such file or directory"},
		"another provider":    {func(h *config.Hook) { h.Provider = "svn" }, `set up hook github: provider "svn" is not one of those that Plumb knows`},
		"a name with a slash": {func(h *config.Hook) { h.Name = "a/b" }, "set up hook a/b: its name is empty or has a slash"},
		"repos without host":  {func(h *config.Hook) { h.Repos = []string{"acme/*"} }, `set up hook github: read repos: "acme/*" names no host; write it as in https://github.com/acme/* or ghcr.io/acme/*`},
		"repos that are a file": {func(h *config.Hook) { h.Repos = []string{"file:///x"} },
			"set up hook github: read repos: read repository URL: its scheme is none of https, http and ssh"},
		"a wildcard in the middle": {func(h *config.Hook) { h.Repos = []string{"https://h/**/x"} }, `set up hook github: read repos: "h/**/x" has a wildcard other than * and /** at its end`},
	} {
		t.Run(what, func(t *testing.T) {
			h := good
			c.change(&h)
			_, err := receiver.New(config.Receiver{Hooks: []config.Hook{h}}, &recorder{}, receiver.Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	empty := good
	empty.SecretFile = secretFile(t, " ", "")
	if _, err := receiver.New(config.Receiver{Hooks: []config.Hook{empty}}, &recorder{}, receiver.Options{}); err == nil || !strings.HasSuffix(err.Error(), "it holds no secret; write one a line") {
		t.Errorf("an empty secret file: %v", err)
	}
	if _, err := receiver.New(config.Receiver{Hooks: []config.Hook{good, good}}, &recorder{}, receiver.Options{}); err == nil {
		t.Error("two hooks of one name are taken")
	}
}

func TestReposOfAHook(t *testing.T) {
	for pattern, names := range map[string]map[string]bool{
		"https://github.com/acme/*":       {"github.com/acme/web": true, "github.com/acme/a/b": false, "github.com/acme": false, "github.com/acmex/web": false, "evil.com/github.com/acme/web": false},
		"https://GitHub.com/Acme/Web.git": {"github.com/acme/web": true, "github.com/acme/web2": false},
		"git@github.com:acme/*":           {"github.com/acme/web": true},
		"github.com/acme/web-*":           {"github.com/acme/web-1": true, "github.com/acme/web": false},
		"https://gitlab.com/acme/**":      {"gitlab.com/acme/a/b/c": true, "gitlab.com/acme/a": true, "gitlab.com/acme": false, "gitlab.com/acmes/a": false},
		"https://gitlab.com/*/apps/**":    {"gitlab.com/acme/apps/a/b": true, "gitlab.com/acme/other/a": false},
		"ssh://git@h:7999/team/*":         {"h:7999/team/a": true, "h/team/a": false},
		"localhost:5000/acme/*":           {"localhost:5000/acme/web": true},
		"docker.io/library/*":             {"docker.io/library/nginx": true, "docker.io/acme/nginx": false},
	} {
		c := hooked(t, "generic")
		c.Hooks[0].Repos = []string{pattern}
		for name, want := range names {
			var out recorder
			r := build(t, c, &out, receiver.Options{})
			body := []byte(`{"repo": "https://` + name + `", "ref": "refs/heads/main", "after": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}`)
			q := httptest.NewRequest(http.MethodPost, "/hooks/generic", bytes.NewReader(body))
			q.Header.Set("Content-Type", "application/json")
			q.Header.Set("X-Signature-256", sign(body))
			w := httptest.NewRecorder()
			r.ServeHTTP(w, q)
			if got := out.count() == 1; got != want {
				t.Errorf("%s with repos %s: published %t (%d %s)", name, pattern, got, w.Code, w.Body)
			}
		}
	}
}

func TestUnknownHooksAnswerLikeWrongSignatures(t *testing.T) {
	addr, _ := serve(t, build(t, hooked(t, "github", "gitlab", "dockerhub"), &recorder{}, receiver.Options{}))
	var first *reply
	for _, path := range []string{"github", "gitlab", "dockerhub", "dockerhub/x", "unknown", "unknown/x", "GITHUB", "a%00b", strings.Repeat("x", 5000)} {
		q := githubPush(t, addr, path, "d")
		q.Header.Set("X-Hub-Signature-256", sign([]byte("x")))
		got := send(t, q)
		got.Header.Del("Date")
		if first == nil {
			first = &got
		}
		if got.Status != 401 || got.Text != first.Text || !maps.EqualFunc(got.Header, first.Header, slices.Equal) {
			t.Errorf("%.20s: %+v, github: %+v", path, got, *first)
		}
	}
	empty, _ := serve(t, build(t, config.Receiver{}, &recorder{}, receiver.Options{}))
	if got := send(t, githubPush(t, empty, "github", "d")); got.Status != 401 || got.Text != first.Text {
		t.Errorf("with no hooks at all: %+v", got)
	}
}

// The time is compared by its minimum, with a body so large that hashing it
// once more or once less would show. On a busy machine the minimum takes many
// rounds to settle; a difference that is really there never goes away.
func TestUnknownHooksCostAsMuchAsWrongSignatures(t *testing.T) {
	c := hooked(t, "github", "gitlab", "dockerhub")
	c.Hooks = append(c.Hooks, config.Hook{Name: "rotating", Provider: "generic", SecretFile: secretFile(t, strings.Split("a b c d e f g h", " ")...)})
	r := build(t, c, &recorder{}, receiver.Options{})
	names := []string{"github", "gitlab", "dockerhub", "rotating", "unknown", "unsigned"}
	best := map[string]time.Duration{}
	for round := 0; round < 20 || round < 400 && uneven(best) != ""; round++ {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] }) // the collector must not favour one
		for _, name := range names {
			if took := refused(r, name); best[name] == 0 || took < best[name] {
				best[name] = took
			}
		}
	}
	if name := uneven(best); name != "" {
		t.Errorf("%s takes %s, an unknown hook %s", name, best[name], best["unknown"])
	}
}

// refused is the time that a refusal takes.
func refused(r *receiver.Receiver, name string) time.Duration {
	q := httptest.NewRequest(http.MethodPost, "/hooks/"+name, bytes.NewReader(large))
	if name == "unsigned" {
		q.URL.Path = "/hooks/github"
	} else {
		q.Header.Set("X-Hub-Signature-256", sign(nil))
	}
	began := time.Now()
	r.ServeHTTP(httptest.NewRecorder(), q)
	return time.Since(began)
}

var large = bytes.Repeat([]byte("x"), 1<<20)

// uneven names one whose time is far from that of an unknown hook.
func uneven(best map[string]time.Duration) string {
	for name, took := range best {
		if ratio := float64(took) / float64(best["unknown"]); ratio < 0.75 || ratio > 1.33 {
			return name
		}
	}
	return ""
}
