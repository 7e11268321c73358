package webhook_test

import (
	"bytes"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/plumb-gitops/plumb/pkg/event"
	"github.com/plumb-gitops/plumb/pkg/webhook"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

const (
	githubID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	gitlabID = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"
	giteaID  = "f6266f16-1bf3-46a5-9ea4-602e06ead473"
	cloudID  = "d08ca2e1-1aa1-4bd5-8bd4-5c4a4c6d2d6b"
	serverID = "8c1a1f2c-0b9e-4fb6-a1ef-8e8a0f5c6c1d"

	pushedSHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
	headSHA   = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
)

func githubPull(action string) *eventsv1.GitPullRequest {
	return &eventsv1.GitPullRequest{Repo: "github.com/codertocat/hello-world", Number: 2, HeadRef: "changes", HeadSha: headSHA,
		BaseRef: "master", Action: action, Provider: "github", DeliveryId: githubID}
}

func gitlabPush() *eventsv1.GitPush {
	return &eventsv1.GitPush{Repo: "example.com/mike/diaspora", Ref: "refs/heads/master", Before: "95790bf891e76fee5e1747ab589903a6a1f80f22",
		After: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", Pusher: "John Smith", Provider: "gitlab", DeliveryId: gitlabID}
}

func bitbucketPull(action string) *eventsv1.GitPullRequest {
	return &eventsv1.GitPullRequest{Repo: "bitbucket.org/team_name/repo_name", Number: 1, HeadRef: "branch2", HeadSha: "d3022fc0ca3d",
		BaseRef: "master", Action: action, Provider: "bitbucket", DeliveryId: cloudID}
}

func serverPull(action string) *eventsv1.GitPullRequest {
	return &eventsv1.GitPullRequest{Repo: "server.bitbucket.local/scm/~gopher/webhook-test", Number: 5, HeadRef: "feature/wip",
		HeadSha: "32a0b8a740c2963c6f56bd8baf3dc05683d299e0", BaseRef: "master", Action: action, Provider: "bitbucket-server", DeliveryId: serverID}
}

// edit replaces a part of a real payload; old must be there.
type edit struct{ old, new string }

func edited(t testing.TB, body []byte, edits []edit) []byte {
	t.Helper()
	for _, e := range edits {
		if !bytes.Contains(body, []byte(e.old)) {
			t.Fatalf("payload has no %s", e.old)
		}
		body = bytes.ReplaceAll(body, []byte(e.old), []byte(e.new))
	}
	return body
}

func TestParseReadsRealPayloads(t *testing.T) {
	for what, c := range map[string]struct {
		file    string
		edits   []edit
		id      string
		want    []proto.Message
		ignored string
	}{
		"GitHub: push": {file: "github/push", id: githubID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "github.com/codertocat/hello-world", Ref: "refs/heads/master", After: pushedSHA, Pusher: "Codertocat", Provider: "github", DeliveryId: githubID}}},
		"GitHub: push of a tag": {file: "github/push-tag", id: githubID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "github.com/codertocat/hello-world", Ref: "refs/tags/simple-tag", After: pushedSHA, Pusher: "Codertocat", Provider: "github", DeliveryId: githubID}}},
		"GitHub: deletion of a tag": {file: "github/push-deleted", id: githubID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "github.com/codertocat/hello-world", Ref: "refs/tags/simple-tag", Before: pushedSHA, Pusher: "Codertocat", Provider: "github", DeliveryId: githubID}}},
		"GitHub: push to a repo with a property of several values": {file: "github/push",
			edits: []edit{{`"default_branch": "master",`, `"default_branch": "master", "custom_properties": {"teams": ["a", "b"], "tier": null},`}},
			id:    githubID, want: []proto.Message{
				&eventsv1.GitPush{Repo: "github.com/codertocat/hello-world", Ref: "refs/heads/master", After: pushedSHA, Pusher: "Codertocat", Provider: "github", DeliveryId: githubID}}},
		"GitHub: ping":                     {file: "github/ping", id: githubID, ignored: "ping"},
		"GitHub: pull request opened":      {file: "github/pull_request-opened", id: githubID, want: []proto.Message{githubPull("opened")}},
		"GitHub: pull request got commits": {file: "github/pull_request-synchronize", id: githubID, want: []proto.Message{githubPull("synchronized")}},
		"GitHub: pull request closed":      {file: "github/pull_request-closed", id: githubID, want: []proto.Message{githubPull("closed")}},
		"GitHub: pull request merged": {file: "github/pull_request-closed", edits: []edit{{`"merged": false`, `"merged": true`}},
			id: githubID, want: []proto.Message{githubPull("merged")}},
		"GitHub: pull request labeled": {file: "github/pull_request-labeled", id: githubID, ignored: `pull request action "labeled" is not used`},

		"GHCR: package of npm":             {file: "ghcr/package-npm", id: githubID, ignored: "package is no container image"},
		"GHCR: image without tag":          {file: "ghcr/package-docker", id: githubID, ignored: "image has no tag"},
		"GHCR: registry_package, no tag":   {file: "ghcr/registry_package-docker", id: githubID, ignored: "image has no tag"},
		"GHCR: package with a tag":         {file: "ghcr/package-docker", edits: tagged, id: githubID, want: []proto.Message{ghcrImage}},
		"GHCR: registry_package and a tag": {file: "ghcr/registry_package-docker", edits: tagged, id: githubID, want: []proto.Message{ghcrImage}},

		"GitLab: push":              {file: "gitlab/push", id: gitlabID, want: []proto.Message{gitlabPush()}},
		"GitLab: push, system hook": {file: "gitlab/system-push", id: gitlabID, want: []proto.Message{gitlabPush()}},
		"GitLab: push of a tag": {file: "gitlab/tag_push", id: gitlabID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "example.com/jsmith/example", Ref: "refs/tags/v1.0.0", After: "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7", Pusher: "John Smith", Provider: "gitlab", DeliveryId: gitlabID}}},
		"GitLab: merge request opened": {file: "gitlab/merge_request", id: gitlabID, want: []proto.Message{gitlabMerge("opened", false)}},
		"GitLab: merge request got commits": {file: "gitlab/merge_request", edits: []edit{{`"action": "open"`, `"action": "update", "oldrev": "` + headSHA + `"`}},
			id: gitlabID, want: []proto.Message{gitlabMerge("synchronized", false)}},
		"GitLab: merge request from a fork": {file: "gitlab/merge_request", edits: []edit{{`"source_project_id": 14`, `"source_project_id": 15`}},
			id: gitlabID, want: []proto.Message{gitlabMerge("opened", true)}},
		"GitLab: merge request with another text": {file: "gitlab/merge_request", edits: []edit{{`"action": "open"`, `"action": "update"`}},
			id: gitlabID, ignored: `merge request action "update" brings no commits`},
		"GitLab: issue": {file: "gitlab/issue", id: gitlabID, ignored: `event "issue" is not used`},

		"Gitea: push": {file: "gitea/push", id: giteaID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "localhost:3000/example/example", Ref: "refs/heads/master", After: "67b56589a45103f891bdee7c0546e5d40bc02001", Pusher: "example", Provider: "gitea", DeliveryId: giteaID}}},
		"Gitea: deletion of a branch": {file: "gitea/delete", id: giteaID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "localhost:3000/example/example", Ref: "refs/heads/example3", Pusher: "example", Provider: "gitea", DeliveryId: giteaID}}},
		"Gitea: pull request from a fork": {file: "gitea/pull_request", id: giteaID, want: []proto.Message{
			&eventsv1.GitPullRequest{Repo: "localhost:3000/example/example", Number: 2, HeadRef: "master", HeadSha: "48e773f892a831faa47c0a160d1b7f0cd369ae2a", BaseRef: "master", Action: "opened", Fork: true, Provider: "gitea", DeliveryId: giteaID}}},
		"Gitea: issue": {file: "gitea/issues", id: giteaID, ignored: `event "issues" is not used`},

		"Bitbucket: push": {file: "bitbucket/push", id: cloudID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "bitbucket.org/team_name/repo_name", Ref: "refs/heads/name-of-branch", Before: "1e65c05c1d5171631d92438a13901ca7dae9618c", After: "709d658dc5b6d6afcd46049c2f332ee3f515a67d", Pusher: "emmap1", Provider: "bitbucket", DeliveryId: cloudID}}},
		"Bitbucket: push of three refs": {file: "bitbucket/push", edits: []edit{{`"changes":[`, threeRefs}}, id: cloudID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "bitbucket.org/team_name/repo_name", Ref: "refs/tags/v1", After: pushedSHA, Pusher: "emmap1", Provider: "bitbucket", DeliveryId: cloudID},
			&eventsv1.GitPush{Repo: "bitbucket.org/team_name/repo_name", Ref: "refs/heads/gone", Before: headSHA, Pusher: "emmap1", Provider: "bitbucket", DeliveryId: cloudID},
			&eventsv1.GitPush{Repo: "bitbucket.org/team_name/repo_name", Ref: "refs/heads/name-of-branch", Before: "1e65c05c1d5171631d92438a13901ca7dae9618c", After: "709d658dc5b6d6afcd46049c2f332ee3f515a67d", Pusher: "emmap1", Provider: "bitbucket", DeliveryId: cloudID}}},
		"Bitbucket: pull request created": {file: "bitbucket/pullrequest-created", id: cloudID, want: []proto.Message{bitbucketPull("opened")}},
		"Bitbucket: pull request merged":  {file: "bitbucket/pullrequest-fulfilled", id: cloudID, want: []proto.Message{bitbucketPull("merged")}},

		"Bitbucket Server: push, named by its HTTP URL": {file: "bitbucket-server/refs_changed", id: serverID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "bitbucketserver/scm/myproject/test-repo", Ref: "refs/heads/master", Before: "f09c8889a2d234985734958795a31589cd91ffda", After: "22671f0349857934857983457983475ec39f196b", Pusher: "john", Provider: "bitbucket-server", DeliveryId: serverID}}},
		"Bitbucket Server: deletion of a branch": {file: "bitbucket-server/refs_changed-delete", id: serverID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "server.bitbucket.local/scm/~gopher/webhook-test", Ref: "refs/heads/feature/wip", Before: "32a0b8a740c2963c6f56bd8baf3dc05683d299e0", Pusher: "gopher", Provider: "bitbucket-server", DeliveryId: serverID}}},
		"Bitbucket Server: deletion, SSH only": {file: "bitbucket-server/refs_changed-delete", edits: []edit{{serverHTTP, "ssh://git@server.bitbucket.local:7999/~gopher/webhook-test.git"}}, id: serverID, want: []proto.Message{
			&eventsv1.GitPush{Repo: "server.bitbucket.local:7999/~gopher/webhook-test", Ref: "refs/heads/feature/wip", Before: "32a0b8a740c2963c6f56bd8baf3dc05683d299e0", Pusher: "gopher", Provider: "bitbucket-server", DeliveryId: serverID}}},
		"Bitbucket Server: pull request opened": {file: "bitbucket-server/pr-opened", id: serverID, want: []proto.Message{serverPull("opened")}},
		"Bitbucket Server: pull request merged": {file: "bitbucket-server/pr-merged", id: serverID, want: []proto.Message{serverPull("merged")}},

		"Docker Hub: push": {file: "dockerhub/push", want: []proto.Message{
			&eventsv1.ImagePush{Registry: "docker.io", Repository: "svendowideit/testhook", Tag: "latest", Provider: "dockerhub"}}},
		"Quay: push": {file: "quay/push", want: []proto.Message{
			&eventsv1.ImagePush{Registry: "quay.io", Repository: "dgangaia/test", Tag: "latest", Provider: "quay"}}},
		"Quay: push of two tags": {file: "quay/push", edits: []edit{{`"latest"`, `"latest", "v1"`}}, want: []proto.Message{
			&eventsv1.ImagePush{Registry: "quay.io", Repository: "dgangaia/test", Tag: "latest", Provider: "quay"},
			&eventsv1.ImagePush{Registry: "quay.io", Repository: "dgangaia/test", Tag: "v1", Provider: "quay"}}},
		"Quay: push of an old version": {file: "quay/push-2013", want: []proto.Message{
			&eventsv1.ImagePush{Registry: "quay.io", Repository: "devtable/ubuntu", Tag: "latest", Provider: "quay"}}},
		"Quay: build queued": {file: "quay/build_queued", ignored: "notification is not about a push"},
		"Harbor: push": {file: "harbor/push", want: []proto.Message{
			&eventsv1.ImagePush{Registry: "hub.harbor.com", Repository: "test-webhook/debian", Tag: "latest", Digest: "sha256:8a9e9863dbb6e10edb5adfe917c00da84e1700fa76e7ed02476aa6e6fb8ee0d8", Provider: "harbor"}}},
		"Harbor: push without tag as CloudEvent": {file: "harbor/cloudevents", id: harborID, ignored: "image has no tag"},
		"Harbor: push with a tag as CloudEvent": {file: "harbor/cloudevents", edits: []edit{{`"tag": "` + harborDigest + `"`, `"tag": "3.18"`}, {"localhost/harbor", "localhost:5000/harbor"}}, id: harborID, want: []proto.Message{
			&eventsv1.ImagePush{Registry: "localhost:5000", Repository: "harbor/alpine", Tag: "3.18", Digest: harborDigest, Provider: "harbor", DeliveryId: harborID}}},
		"Harbor: scan": {file: "harbor/push", edits: []edit{{"PUSH_ARTIFACT", "SCANNING_COMPLETED"}}, ignored: `event "SCANNING_COMPLETED" is not used`},
		"Distribution: push, from the registry itself": {file: "distribution/push", id: "01a206fc-1dad-7cb7-9d70-922d38c3ea72", want: []proto.Message{
			&eventsv1.ImagePush{Registry: "127.0.0.1:34409", Repository: "acme/web", Tag: "v1", Digest: "sha256:f20c43161d73848408ef247f0ec7111b19fe58ffebc0cbcaa0d2c8bda4967268", Provider: "distribution", DeliveryId: "01a206fc-1dad-7cb7-9d70-922d38c3ea72"}}},
		"Distribution: pull": {file: "distribution/pull", ignored: `action "pull" is not used`},
		"Distribution: push": {file: "distribution/pull", edits: []edit{{`"action": "pull"`, `"action": "push"`}}, id: distributionID, want: []proto.Message{
			&eventsv1.ImagePush{Registry: "192.168.100.227:5000", Repository: "hello-world", Tag: "latest", Digest: "sha256:fea8895f450959fa676bcc1df0611ea93823a735a01205fd8622846041d0c7cf", Provider: "distribution", DeliveryId: distributionID}}},
	} {
		t.Run(what, func(t *testing.T) {
			q := sample(t, c.file)
			q.Body = edited(t, q.Body, c.edits)
			d, err := provider(t, providerOf(c.file)).Parse(q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, data(d), protocmp.Transform()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if d.ID != c.id || d.Ignored != c.ignored {
				t.Errorf("id %q, ignored %q; want %q, %q", d.ID, d.Ignored, c.id, c.ignored)
			}
			sound(t, d)
		})
	}
}

const (
	harborID       = "66e18103-09c1-41f6-982f-37df223f3eeb"
	harborDigest   = "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4"
	distributionID = "320678d8-ca14-430f-8bb6-4ca139cd83f7"

	serverHTTP = `https://server.bitbucket.local/scm/~gopher/webhook-test.git`
	threeRefs  = `"changes": [{"old": null, "new": {"type": "tag", "name": "v1", "target": {"hash": "` + pushedSHA + `"}}},
		{"old": {"type": "branch", "name": "gone", "target": {"hash": "` + headSHA + `"}}, "new": null},`
)

var (
	tagged = []edit{{`"tag": {
     "name": "",`, `"tag": {
     "name": "nightly",`}, {"ghcr.io/Codertocat/hello-world:", "ghcr.io/Codertocat/hello-world:nightly"}}
	ghcrImage = &eventsv1.ImagePush{Registry: "ghcr.io", Repository: "codertocat/hello-world", Tag: "nightly",
		Digest: "sha256:6c62fb45fe66bfb1ea9a66abc38f6a0cc974292b", Provider: "ghcr", DeliveryId: githubID}
)

func gitlabMerge(action string, fork bool) *eventsv1.GitPullRequest {
	return &eventsv1.GitPullRequest{Repo: "example.com/gitlabhq/gitlab-test", Number: 1, HeadRef: "ms-viewport",
		HeadSha: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", BaseRef: "master", Action: action, Fork: fork, Provider: "gitlab", DeliveryId: gitlabID}
}

func TestParseReadsTheGenericForm(t *testing.T) {
	for what, c := range map[string]struct {
		body string
		want proto.Message
	}{
		"a push": {`{"repo": "git@Git.Example.com:Team/App.git", "ref": "refs/heads/main", "after": "` + headSHA + `"}`,
			&eventsv1.GitPush{Repo: "git.example.com/team/app", Ref: "refs/heads/main", After: headSHA, Provider: "generic"}},
		"a push of SHA-256": {`{"repo": "https://h/a", "ref": "refs/heads/main", "after": "` + pushedSHA + `c78f6a0cc974292b6c62fb45"}`,
			&eventsv1.GitPush{Repo: "h/a", Ref: "refs/heads/main", After: pushedSHA + "c78f6a0cc974292b6c62fb45", Provider: "generic"}},
		"an image of Docker Hub": {`{"image": "nginx", "tag": "1.27"}`,
			&eventsv1.ImagePush{Registry: "docker.io", Repository: "library/nginx", Tag: "1.27", Provider: "generic"}},
		"an image by digest": {`{"image": "Registry.example.com:5000/acme/web", "digest": "` + harborDigest + `"}`,
			&eventsv1.ImagePush{Registry: "registry.example.com:5000", Repository: "acme/web", Digest: harborDigest, Provider: "generic"}},
	} {
		t.Run(what, func(t *testing.T) {
			d, err := provider(t, "generic").Parse(webhook.Request{Header: headersOf("generic", ""), Body: []byte(c.body)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]proto.Message{c.want}, data(d), protocmp.Transform()); diff != "" || d.ID != "" {
				t.Errorf("id %q, -want +got\n%s", d.ID, diff)
			}
			sound(t, d)
		})
	}
}

func TestParseReadsForms(t *testing.T) {
	for file, want := range map[string]string{"github/push": "github.com/codertocat/hello-world", "gitea/push": "localhost:3000/example/example"} {
		q := sample(t, file)
		q.Body = []byte(url.Values{"payload": {string(q.Body)}}.Encode())
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		d, err := provider(t, providerOf(file)).Parse(q)
		if err != nil || len(d.Events) != 1 || d.Events[0].Subject != want {
			t.Errorf("%s as a form: %v, %v", file, d, err)
		}
	}
}

func TestEventTypesAreSet(t *testing.T) {
	for file, want := range map[string]event.Type{
		"github/push": event.GitPush, "github/pull_request-opened": event.GitPullRequest, "harbor/push": event.ImagePush,
	} {
		d, err := provider(t, providerOf(file)).Parse(sample(t, file))
		if err != nil || len(d.Events) != 1 || d.Events[0].Type != want || d.Events[0].Subject == "" {
			t.Errorf("%s: %+v, %v; want %s", file, d.Events, err, want)
		}
	}
}

func data(d webhook.Delivery) (out []proto.Message) {
	for _, e := range d.Events {
		out = append(out, e.Data)
	}
	return out
}
