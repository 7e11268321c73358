package webhook

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// bitbucketEvent holds what Plumb reads of
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/.
type bitbucketEvent struct {
	Actor struct {
		Nickname    string `json:"nickname"`
		DisplayName string `json:"display_name"`
	} `json:"actor"`
	Repository bitbucketRepo `json:"repository"`
	Push       *struct {
		Changes []bitbucketChange `json:"changes"`
	} `json:"push"`

	PullRequest struct {
		ID          int64         `json:"id"`
		Source      bitbucketSide `json:"source"`
		Destination bitbucketSide `json:"destination"`
	} `json:"pullrequest"`
}

type bitbucketRepo struct {
	FullName string `json:"full_name"`
}

type bitbucketChange struct {
	Old *bitbucketRef `json:"old"`
	New *bitbucketRef `json:"new"`
}

type bitbucketRef struct {
	Type   string          `json:"type"`
	Name   string          `json:"name"`
	Target bitbucketCommit `json:"target"`
}

type bitbucketCommit struct {
	Hash string `json:"hash"`
}

type bitbucketSide struct {
	Branch struct {
		Name string `json:"name"`
	} `json:"branch"`
	Commit     bitbucketCommit `json:"commit"`
	Repository bitbucketRepo   `json:"repository"`
}

var bitbucketActions = map[string]string{
	"pullrequest:created": "opened", "pullrequest:updated": "synchronized",
	"pullrequest:fulfilled": "merged", "pullrequest:rejected": "closed",
}

func parseBitbucket(p *payload) []proto.Message {
	kind := p.header.Get("X-Event-Key")
	var e bitbucketEvent
	switch {
	case kind == "":
		p.fail("", "header X-Event-Key is missing")
	case kind == "repo:push":
		p.decode(&e)
		return p.bitbucketPush(e)
	case bitbucketActions[kind] != "":
		p.decode(&e)
		return p.bitbucketPullRequest(e, bitbucketActions[kind])
	default:
		p.ignore("event " + word(kind) + " is not used")
	}
	return nil
}

// bitbucketName: the payload has no clone URL, and Bitbucket Cloud has one host.
func (p *payload) bitbucketName(r bitbucketRepo) string {
	if r.FullName == "" {
		p.fail("repository.full_name", "is missing")
		return ""
	}
	return p.repo("repository.full_name", "https://bitbucket.org/"+r.FullName)
}

func (p *payload) bitbucketPush(e bitbucketEvent) (pushes []proto.Message) {
	if e.Push == nil || e.Push.Changes == nil {
		p.fail("push.changes", "is missing")
		return nil
	}
	repo := p.bitbucketName(e.Repository)
	for i, change := range e.Push.Changes {
		field := fmt.Sprintf("push.changes[%d]", i)
		push := &eventsv1.GitPush{Repo: repo, Pusher: person(e.Actor.Nickname, e.Actor.DisplayName), Provider: p.provider}
		if change.Old == nil && change.New == nil {
			p.fail(field, "has neither old nor new")
			return nil
		}
		push.Ref, push.Before = p.bitbucketSide(field+".old", change.Old, push.Ref)
		push.Ref, push.After = p.bitbucketSide(field+".new", change.New, push.Ref)
		pushes = append(pushes, push)
	}
	return pushes
}

var bitbucketRefTypes = map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}

// bitbucketSide returns ref and SHA of one side of a change; an absent side leaves ref as it is.
func (p *payload) bitbucketSide(field string, side *bitbucketRef, ref string) (string, string) {
	if side == nil {
		return ref, ""
	}
	prefix, known := bitbucketRefTypes[side.Type]
	switch {
	case !known:
		p.fail(field+".type", "is neither branch nor tag")
	case side.Name == "":
		p.fail(field+".name", "is missing")
	}
	return p.ref(field+".name", prefix+side.Name), p.sha(field+".target.hash", side.Target.Hash)
}

func (p *payload) bitbucketPullRequest(e bitbucketEvent, action string) []proto.Message {
	pr := e.PullRequest
	source, destination := pr.Source, pr.Destination
	return []proto.Message{&eventsv1.GitPullRequest{
		Repo:     p.bitbucketName(e.Repository),
		Number:   p.number("pullrequest.id", pr.ID),
		HeadRef:  p.branch("pullrequest.source.branch.name", source.Branch.Name),
		HeadSha:  p.headSHA("pullrequest.source.commit.hash", source.Commit.Hash),
		BaseRef:  p.branch("pullrequest.destination.branch.name", destination.Branch.Name),
		Action:   action,
		Fork:     source.Repository.FullName == "" || source.Repository != destination.Repository,
		Provider: p.provider,
	}}
}
