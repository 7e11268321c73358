package webhook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/webhook"
)

func providerOf(file string) string {
	name, _, _ := strings.Cut(file, "/")
	return name
}

var subject = regexp.MustCompile(`^plumb\.events\.(git\.push|git\.pullrequest|image\.push)\.[A-Za-z0-9=_-]+$`)

// sound holds for every delivery that is accepted: its events can be encoded,
// reach no other subject, and carry neither a credential nor a foreign scheme.
func sound(t testing.TB, d webhook.Delivery) {
	t.Helper()
	for _, e := range d.Events {
		e.ID, e.Source = "id", "/local/receiver"
		ce, err := e.CloudEvent()
		if err != nil || len(ce.Data()) > 8<<10 {
			t.Fatalf("event has %d bytes of data, %v", len(ce.Data()), err)
		}
		s, err := e.BusSubject()
		if err != nil || !subject.MatchString(s) {
			t.Fatalf("subject %q, %v", s, err)
		}
		host, _, _ := strings.Cut(e.Subject, "/")
		if host == "" || strings.Contains(host, "@") || strings.Contains(e.Subject, "://") {
			t.Fatalf("event is about %q", e.Subject)
		}
	}
	if len(d.ID) > 200 || strings.ContainsFunc(d.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Fatalf("delivery id %q", d.ID)
	}
	if len(d.Events) == 0 && d.Ignored == "" {
		t.Fatal("neither events nor a reason")
	}
}

// orderly holds for every refusal: permanent, one short line, nothing secret.
func orderly(t testing.TB, err error) {
	t.Helper()
	if class, _ := fault.ClassOf(err); class != fault.Permanent && !errors.Is(err, webhook.ErrMediaType) {
		t.Fatalf("refusal is %s: %v", class, err)
	}
	if text := err.Error(); strings.ContainsAny(text, "\r\n\x00") || len(text) > 300 || strings.Contains(text, "s3cret") {
		t.Fatalf("refusal is no short line: %q", text)
	}
}

// oddities are the values that every field of every payload is tried with.
func oddities() map[string]any {
	return map[string]any{
		"absent": absent{}, "null": nil, "an array": []any{"s3cret", 1.0}, "an object": map[string]any{"s3cret": "s3cret"}, "a number": 1e99, "minus one": -1,
		"false": false, "an empty string": "", "an empty array": []any{}, "an empty object": map[string]any{}, "an array of null": []any{nil},
		"a huge string": strings.Repeat("s3cret", 5_000), "a file": "file:///etc/s3cret", "a credential": "https://u:s3cret@github.com/acme/x",
		"an internal address": "http://169.254.169.254/latest", "a helper": "ext::sh -c s3cret", "an option": "--upload-pack=s3cret",
		"CRLF": "a\r\nNats-Msg-Id: s3cret", "NUL": "a\x00s3cret", "patterns": "https://h/a.*.>.b c", "dots": "refs/heads/../../s3cret",
		"ten thousand bytes": "https://h/" + strings.Repeat("a.", 5_000), "a ref of ten thousand bytes": "refs/heads/" + strings.Repeat("a", 10_000),
		"half of a character": "refs/heads/\xff",
	}
}

func TestEveryFieldMayBeOdd(t *testing.T) {
	for _, file := range samples(t) {
		t.Run(file, func(t *testing.T) {
			q := sample(t, file)
			var tree any
			if err := json.Unmarshal(q.Body, &tree); err != nil {
				t.Fatal(err)
			}
			prune(tree)
			p := provider(t, providerOf(file))
			tried := 0
			for _, value := range oddities() {
				vary(&tree, value, func() {
					tried++
					q.Body, _ = json.Marshal(tree)
					try(t, p, q)
				})
			}
			if tried < 50 {
				t.Errorf("only %d variations", tried)
			}
		})
	}
}

func try(t testing.TB, p webhook.Provider, q webhook.Request) {
	t.Helper()
	d, err := p.Parse(q)
	if err != nil {
		orderly(t, err)
		return
	}
	sound(t, d)
}

// absent stands for leaving a field out.
type absent struct{}

// vary puts value in the place of every node of the tree in turn, calling use each time.
func vary(node *any, value any, use func()) {
	kept := *node
	*node = value
	use()
	*node = kept
	switch n := kept.(type) {
	case map[string]any:
		for key, below := range n {
			if value == (absent{}) {
				delete(n, key)
				use()
			}
			vary(&below, value, func() { n[key] = below; use() })
			n[key] = below
		}
	case []any:
		for i := range min(len(n), 2) {
			vary(&n[i], value, use)
		}
	}
}

// prune leaves out what no parser reads: most of a payload, and most of the time.
func prune(tree any) {
	switch n := tree.(type) {
	case map[string]any:
		for key, below := range n {
			if prune(below); !readFields[key] {
				delete(n, key)
			}
		}
	case []any:
		for _, below := range n {
			prune(below)
		}
	}
}

// readFields are the fields that some parser reads, those around them, and one
// that none reads.
var readFields = func() map[string]bool {
	fields := map[string]bool{}
	for _, key := range strings.Fields(`description
		ref ref_type before after deleted action number pusher name login repository clone_url custom_properties
		pull_request head base repo sha id merged package registry_package package_version package_url container_metadata tag digest owner
		object_kind event_name project git_http_url user_username user_name object_attributes iid oldrev source_branch target_branch
		source_project_id target_project_id last_commit
		push changes old new type target hash full_name pullrequest source destination branch commit actor nickname
		links clone href refId fromHash toHash pullRequest fromRef toRef displayId latestCommit
		push_data repo_name docker_url updated_tags event_data data resources resource_url events url request host`) {
		fields[key] = true
	}
	return fields
}()

func TestRefusalsNameTheField(t *testing.T) {
	for what, c := range map[string]struct {
		file string
		body string
		want string
	}{
		"nothing":                     {"github/push", ``, `payload is not JSON`},
		"not JSON":                    {"github/push", `{"ref": s3cret}`, `payload is not JSON`},
		"JSON and more":               {"github/push", `{} {}`, `payload is not JSON`},
		"null":                        {"github/push", `null`, `payload is not an object`},
		"an array":                    {"github/push", `[]`, `payload is array, want object`},
		"null for GitLab":             {"gitlab/push", `null`, `object_kind: is missing`},
		"an array for GitLab":         {"gitlab/push", `["s3cret"]`, `payload is array, want object`},
		"an array as ref":             {"github/push", `{"ref": ["s3cret"]}`, `ref: is array, want string`},
		"a number as repository":      {"github/push", `{"repository": 7}`, `repository: is number, want object`},
		"no repository":               {"github/push", `{"ref": "refs/heads/main", "repository": null}`, `repository.clone_url: is missing`},
		"no ref":                      {"github/push", `{"repository": {"clone_url": "https://h/a"}}`, `ref: is missing`},
		"a short ref":                 {"github/push", `{"ref": "main", "repository": {"clone_url": "https://h/a"}}`, `ref: is not a full ref name, as in refs/heads/main`},
		"a ref out of bounds":         {"github/push", `{"ref": "refs/heads/../x", "repository": {"clone_url": "https://h/a"}}`, `ref: is not a ref name that Git allows`},
		"no SHA":                      {"github/push", `{"ref": "refs/heads/x", "repository": {"clone_url": "https://h/a"}}`, `before: is missing`},
		"a SHA that is an option":     {"github/push", `{"ref": "refs/heads/x", "before": "--upload-pack=s3cret", "repository": {"clone_url": "https://h/a"}}`, `before: is not a full commit SHA`},
		"a repository that is a file": {"github/push", `{"repository": {"clone_url": "file:///s3cret"}}`, `repository.clone_url: read repository URL: its scheme is none of https, http and ssh`},
		"a pull request without all":  {"github/pull_request-opened", `{"action": "opened", "repository": {"clone_url": "https://h/a"}}`, `number: is missing or not positive`},
		"a package without all":       {"ghcr/package-docker", `{}`, `package: is missing`},
		"no GitLab project":           {"gitlab/push", `{"object_kind": "push"}`, `project.git_http_url: is missing`},
		"no Gitea repository":         {"gitea/push", `{}`, `repository.clone_url: is missing`},
		"no kind of ref":              {"gitea/delete", `{"ref": "x"}`, `ref_type: is neither branch nor tag`},
		"no changes":                  {"bitbucket/push", `{"push": {"changes": null}}`, `push.changes: is missing`},
		"an empty change":             {"bitbucket/push", `{"repository": {"full_name": "a/b"}, "push": {"changes": [{}]}}`, `push.changes[0]: has neither old nor new`},
		"no changes at the server":    {"bitbucket-server/refs_changed", `{"changes": {}}`, `changes: is object, want array`},
		"no clone link":               {"bitbucket-server/refs_changed", `{"changes": []}`, `repository.links.clone: is missing`},
		"no tag":                      {"dockerhub/push", `{"repository": {"repo_name": "a/b"}}`, `push_data.tag: is missing`},
		"no name":                     {"dockerhub/push", `{"push_data": {"tag": "x"}}`, `repository.repo_name: is missing`},
		"tags that are null":          {"quay/push", `{"docker_url": "quay.io/a/b", "updated_tags": null}`, `updated_tags: is not a list of tags`},
		"tags that are numbers":       {"quay/push", `{"docker_url": "quay.io/a/b", "updated_tags": [1]}`, `updated_tags: is not a list of tags`},
		"no resources":                {"harbor/push", `{"type": "PUSH_ARTIFACT"}`, `event_data.resources: is missing`},
		"a digest that is none":       {"harbor/push", `{"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"tag": "a", "digest": "s3cret", "resource_url": "h.x/a:a"}]}}`, `event_data.resources[0].resource_url: has a digest that is not <algorithm>:<hex>`},
		"no events":                   {"distribution/pull", `{}`, `events: is missing`},
		"no action":                   {"distribution/pull", `{"events": [{}]}`, `events[0].action: is missing`},
		"no host":                     {"distribution/pull", `{"events": [{"action": "push", "target": {"repository": "a", "tag": "b"}}]}`, `events[0].target: is not an image name with its registry, as in ghcr.io/acme/web`},
		"neither repo nor image":      {"generic/x", `{}`, `payload has neither repo nor image`},
		"both repo and image":         {"generic/x", `{"repo": "a", "image": "b"}`, `payload has both repo and image`},
		"an image that is a path":     {"generic/x", `{"image": "../../s3cret", "tag": "x"}`, `image: is not an image name with its registry, as in ghcr.io/acme/web`},
		"an image and no tag":         {"generic/x", `{"image": "nginx"}`, `image: has neither tag nor digest`},
		"a tag with a blank":          {"generic/x", `{"image": "nginx", "tag": "s3cret x"}`, `image: has a tag that no registry allows`},
	} {
		t.Run(what, func(t *testing.T) {
			name, kind, _ := strings.Cut(c.file, "/")
			_, err := provider(t, name).Parse(webhook.Request{Header: headersOf(name, kind), Body: []byte(c.body)})
			if err == nil || err.Error() != c.want {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			orderly(t, err)
		})
	}
}

func TestMissingEventHeaderIsSaid(t *testing.T) {
	for name, want := range map[string]string{
		"github": "header X-GitHub-Event is missing", "ghcr": "header X-GitHub-Event is missing", "gitea": "header X-Gitea-Event is missing",
		"bitbucket": "header X-Event-Key is missing", "bitbucket-server": "header X-Event-Key is missing",
	} {
		_, err := provider(t, name).Parse(webhook.Request{Header: headersOf("", ""), Body: []byte(`{}`)})
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestBodiesOfAnotherKindAreRefused(t *testing.T) {
	for _, p := range webhook.Providers() {
		for _, media := range []string{"", "text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json; =", "x"} {
			q := webhook.Request{Header: headersOf("", ""), Body: []byte(`{}`)}
			q.Header.Set("Content-Type", media)
			if _, err := p.Parse(q); !errors.Is(err, webhook.ErrMediaType) {
				t.Errorf("%s takes %q: %v", p.Name(), media, err)
			}
		}
	}
}

func TestOneDeliveryCausesBoundedWork(t *testing.T) {
	tags := func(n int) []byte {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("%q", fmt.Sprint("v", i))
		}
		return []byte(`{"docker_url": "quay.io/a/b", "updated_tags": [` + strings.Join(names, ",") + `]}`)
	}
	quay := provider(t, "quay")
	if d, err := quay.Parse(webhook.Request{Header: headersOf("", ""), Body: tags(1000)}); err != nil || len(d.Events) != 1000 {
		t.Errorf("a thousand tags: %d events, %v", len(d.Events), err)
	}
	_, err := quay.Parse(webhook.Request{Header: headersOf("", ""), Body: tags(1001)})
	if err == nil || err.Error() != "payload names 1001 refs or images, at most 1000" {
		t.Errorf("a thousand and one: %v", err)
	}
}

// Elements of two bytes must not become structs of hundreds by the million.
func TestSmallBodiesDoNotBecomeLargeValues(t *testing.T) {
	const million = 1_000_000
	for what, c := range map[string]struct{ file, text string }{
		"numbers as commits":       {"github/push", `{"commits": [` + strings.Repeat("1,", million) + `1]}`},
		"empty commits":            {"github/push", `{"commits": [` + strings.Repeat("{},", million) + `{}]}`},
		"null as events":           {"distribution/pull", `{"events": [` + strings.Repeat("null,", million) + `null]}`},
		"a nest of arrays":         {"github/push", strings.Repeat("[", million)},
		"behind an escaped string": {"gitlab/push", `{"a\"": "\\", "b": [` + strings.Repeat("1,", million) + `1]}`},
	} {
		name, kind, _ := strings.Cut(c.file, "/")
		q := webhook.Request{Header: headersOf(name, kind), Body: []byte(c.text)}
		if _, err := provider(t, name).Parse(q); err == nil || err.Error() != "payload holds more than 250000 values" {
			t.Errorf("%s: %v", what, err)
		}
	}
	q := sample(t, "github/push") // what only looks like values does not count
	q.Body = []byte(strings.Replace(string(q.Body), `"ref":`, `"x": "`+strings.Repeat(`,{[\"`, million)+`", "ref":`, 1))
	if d, err := provider(t, "github").Parse(q); err != nil || len(d.Events) != 1 {
		t.Errorf("a long string: %v", err)
	}
}

func TestDeliveryIDsFromOutsideAreBounded(t *testing.T) {
	for what, id := range map[string]string{"CRLF": "a\r\nb", "blanks": "a b", "NUL": "\x00", "Latin-1": "\xff", "ten thousand bytes": strings.Repeat("x", 10_000), "a pattern": "*.>"} {
		q := sample(t, "github/push")
		q.Header["X-Github-Delivery"] = []string{id}
		d, err := provider(t, "github").Parse(q)
		if err != nil || d.ID == "" {
			t.Fatalf("%s: %v", what, err)
		}
		sound(t, d)
	}
}
