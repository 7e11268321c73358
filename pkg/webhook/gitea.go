package webhook

import (
	"strings"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// giteaEvent holds what Plumb reads of https://docs.gitea.com/usage/webhooks;
// Forgejo and Gogs send the same.
type giteaEvent struct {
	Action     string    `json:"action"`
	Ref        string    `json:"ref"`
	RefType    string    `json:"ref_type"`
	Before     string    `json:"before"`
	After      string    `json:"after"`
	Number     int64     `json:"number"`
	Repository giteaRepo `json:"repository"`
	Pusher     giteaUser `json:"pusher"`
	Sender     giteaUser `json:"sender"`

	PullRequest struct {
		Merged bool      `json:"merged"`
		Head   giteaSide `json:"head"`
		Base   giteaSide `json:"base"`
	} `json:"pull_request"`
}

type giteaRepo struct {
	ID       int64  `json:"id"`
	CloneURL string `json:"clone_url"`
}

type giteaUser struct {
	Login    string `json:"login"`
	Username string `json:"username"`
}

type giteaSide struct {
	Ref  string    `json:"ref"`
	SHA  string    `json:"sha"`
	Repo giteaRepo `json:"repo"`
}

func parseGitea(p *payload) []proto.Message {
	var kind string
	for _, name := range []string{"X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"} {
		if kind == "" {
			kind = p.header.Get(name)
		}
	}
	switch kind {
	case "push":
		return p.giteaPush()
	case "delete": // the deletion of a branch comes as this event only
		return p.giteaDelete()
	case "pull_request":
		return p.giteaPullRequest()
	case "":
		p.fail("", "header X-Gitea-Event is missing")
	default:
		p.ignore("event " + word(kind) + " is not used")
	}
	return nil
}

func (p *payload) giteaPush() []proto.Message {
	var e giteaEvent
	p.decode(&e)
	return []proto.Message{&eventsv1.GitPush{
		Repo:     p.repo("repository.clone_url", e.Repository.CloneURL),
		Ref:      p.ref("ref", e.Ref),
		Before:   p.sha("before", e.Before),
		After:    p.sha("after", e.After),
		Pusher:   person(e.Pusher.Login, e.Pusher.Username, e.Sender.Login),
		Provider: p.provider,
	}}
}

var giteaRefTypes = map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}

func (p *payload) giteaDelete() []proto.Message {
	var e giteaEvent
	p.decode(&e)
	prefix, known := giteaRefTypes[e.RefType]
	if !known {
		p.fail("ref_type", "is neither branch nor tag")
	}
	if e.Ref == "" {
		p.fail("ref", "is missing")
	}
	return []proto.Message{&eventsv1.GitPush{
		Repo:     p.repo("repository.clone_url", e.Repository.CloneURL),
		Ref:      p.ref("ref", prefix+strings.TrimPrefix(e.Ref, prefix)),
		Pusher:   person(e.Sender.Login, e.Sender.Username),
		Provider: p.provider,
	}}
}

var giteaActions = map[string]string{"opened": "opened", "synchronized": "synchronized", "reopened": "reopened", "closed": "closed"}

func (p *payload) giteaPullRequest() []proto.Message {
	var e giteaEvent
	p.decode(&e)
	action, known := giteaActions[e.Action]
	if p.err == nil && !known {
		p.ignore("pull request action " + word(e.Action) + " is not used")
		return nil
	}
	head, base := e.PullRequest.Head, e.PullRequest.Base
	if action == "closed" && e.PullRequest.Merged {
		action = "merged"
	}
	return []proto.Message{&eventsv1.GitPullRequest{
		Repo:     p.repo("repository.clone_url", e.Repository.CloneURL),
		Number:   p.number("number", e.Number),
		HeadRef:  p.branch("pull_request.head.ref", head.Ref),
		HeadSha:  p.headSHA("pull_request.head.sha", head.SHA),
		BaseRef:  p.branch("pull_request.base.ref", base.Ref),
		Action:   action,
		Fork:     head.Repo.ID == 0 || head.Repo.ID != base.Repo.ID,
		Provider: p.provider,
	}}
}
