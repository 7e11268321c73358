package webhook

import (
	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// gitlabEvent holds what Plumb reads of
// https://docs.gitlab.com/user/project/integrations/webhook_events/ and of system hooks.
type gitlabEvent struct {
	Ref          string `json:"ref"`
	Before       string `json:"before"`
	After        string `json:"after"`
	UserUsername string `json:"user_username"`
	UserName     string `json:"user_name"`
	Project      struct {
		GitHTTPURL string `json:"git_http_url"`
	} `json:"project"`

	Merge struct {
		IID             int64  `json:"iid"`
		Action          string `json:"action"`
		OldRev          string `json:"oldrev"`
		SourceBranch    string `json:"source_branch"`
		TargetBranch    string `json:"target_branch"`
		SourceProjectID int64  `json:"source_project_id"`
		TargetProjectID int64  `json:"target_project_id"`
		LastCommit      struct {
			ID string `json:"id"`
		} `json:"last_commit"`
	} `json:"object_attributes"`
}

func parseGitLab(p *payload) []proto.Message {
	var e struct {
		ObjectKind string `json:"object_kind"`
		EventName  string `json:"event_name"` // system hooks name their pushes here only
	}
	p.decode(&e)
	kind := e.ObjectKind
	if kind == "" {
		kind = e.EventName
	}
	switch kind {
	case "push", "tag_push":
		return p.gitlabPush()
	case "merge_request":
		return p.gitlabMerge()
	case "":
		p.fail("object_kind", "is missing")
	default:
		p.ignore("event " + word(kind) + " is not used")
	}
	return nil
}

func (p *payload) gitlabPush() []proto.Message {
	var e gitlabEvent
	p.decode(&e)
	return []proto.Message{&eventsv1.GitPush{
		Repo:     p.repo("project.git_http_url", e.Project.GitHTTPURL),
		Ref:      p.ref("ref", e.Ref),
		Before:   p.sha("before", e.Before),
		After:    p.sha("after", e.After),
		Pusher:   person(e.UserUsername, e.UserName),
		Provider: p.provider,
	}}
}

var gitlabActions = map[string]string{"open": "opened", "reopen": "reopened", "close": "closed", "merge": "merged", "update": "synchronized"}

func (p *payload) gitlabMerge() []proto.Message {
	var e gitlabEvent
	p.decode(&e)
	m := e.Merge
	action, known := gitlabActions[m.Action]
	if p.err == nil && (!known || m.Action == "update" && m.OldRev == "") { // without oldrev only the text changed
		p.ignore("merge request action " + word(m.Action) + " brings no commits")
		return nil
	}
	return []proto.Message{&eventsv1.GitPullRequest{
		Repo:     p.repo("project.git_http_url", e.Project.GitHTTPURL),
		Number:   p.number("object_attributes.iid", m.IID),
		HeadRef:  p.branch("object_attributes.source_branch", m.SourceBranch),
		HeadSha:  p.headSHA("object_attributes.last_commit.id", m.LastCommit.ID),
		BaseRef:  p.branch("object_attributes.target_branch", m.TargetBranch),
		Action:   action,
		Fork:     m.SourceProjectID == 0 || m.SourceProjectID != m.TargetProjectID,
		Provider: p.provider,
	}}
}
