package webhook

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// serverEvent holds what Plumb reads of
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html.
type serverEvent struct {
	Actor struct {
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	} `json:"actor"`
	Repository  serverRepo     `json:"repository"`
	Changes     []serverChange `json:"changes"`
	PullRequest struct {
		ID      int64     `json:"id"`
		FromRef serverRef `json:"fromRef"`
		ToRef   serverRef `json:"toRef"`
	} `json:"pullRequest"`
}

type serverChange struct {
	RefID    string `json:"refId"`
	FromHash string `json:"fromHash"`
	ToHash   string `json:"toHash"`
}

type serverRef struct {
	DisplayID    string     `json:"displayId"`
	LatestCommit string     `json:"latestCommit"`
	Repository   serverRepo `json:"repository"`
}

type serverRepo struct {
	ID    int64 `json:"id"`
	Links struct {
		Clone []struct {
			Href string `json:"href"`
			Name string `json:"name"`
		} `json:"clone"`
	} `json:"links"`
}

var serverActions = map[string]string{
	"pr:opened": "opened", "pr:from_ref_updated": "synchronized", "pr:merged": "merged",
	"pr:declined": "closed", "pr:deleted": "closed",
}

func parseBitbucketServer(p *payload) []proto.Message {
	kind := p.header.Get("X-Event-Key")
	var e serverEvent
	switch {
	case kind == "":
		p.fail("", "header X-Event-Key is missing")
	case kind == "diagnostics:ping":
		p.ignore("ping")
	case kind == "repo:refs_changed":
		p.decode(&e)
		return p.serverPush(e)
	case serverActions[kind] != "":
		p.decode(&e)
		return p.serverPullRequest(e, serverActions[kind])
	default:
		p.ignore("event " + word(kind) + " is not used")
	}
	return nil
}

// serverName prefers the HTTP clone URL: over SSH the port makes another name.
func (p *payload) serverName(field string, r serverRepo) string {
	var href string
	for _, link := range r.Links.Clone {
		if href == "" || link.Name == "http" || link.Name == "https" {
			href = link.Href
		}
	}
	return p.repo(field+".links.clone", href)
}

func (p *payload) serverPush(e serverEvent) (pushes []proto.Message) {
	if e.Changes == nil {
		p.fail("changes", "is missing")
		return nil
	}
	repo := p.serverName("repository", e.Repository)
	for i, c := range e.Changes {
		field := fmt.Sprintf("changes[%d]", i)
		pushes = append(pushes, &eventsv1.GitPush{
			Repo:     repo,
			Ref:      p.ref(field+".refId", c.RefID),
			Before:   p.sha(field+".fromHash", c.FromHash),
			After:    p.sha(field+".toHash", c.ToHash),
			Pusher:   person(e.Actor.Name, e.Actor.DisplayName),
			Provider: p.provider,
		})
	}
	return pushes
}

func (p *payload) serverPullRequest(e serverEvent, action string) []proto.Message {
	pr := e.PullRequest
	from, to := pr.FromRef, pr.ToRef
	return []proto.Message{&eventsv1.GitPullRequest{
		Repo:     p.serverName("pullRequest.toRef.repository", to.Repository),
		Number:   p.number("pullRequest.id", pr.ID),
		HeadRef:  p.branch("pullRequest.fromRef.displayId", from.DisplayID),
		HeadSha:  p.headSHA("pullRequest.fromRef.latestCommit", from.LatestCommit),
		BaseRef:  p.branch("pullRequest.toRef.displayId", to.DisplayID),
		Action:   action,
		Fork:     from.Repository.ID == 0 || from.Repository.ID != to.Repository.ID,
		Provider: p.provider,
	}}
}
