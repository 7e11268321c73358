package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/go-github/v60/github"
	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// parseGitHub reads the events of
// https://docs.github.com/webhooks/webhook-events-and-payloads.
func parseGitHub(p *payload) []proto.Message {
	kind := p.header.Get(github.EventTypeHeader)
	switch kind {
	case "package", "registry_package":
		return parseGHCR(p)
	case "push", "pull_request", "ping":
	case "":
		p.fail("", "header X-GitHub-Event is missing")
		return nil
	default:
		p.ignore("event " + word(kind) + " is not used")
		return nil
	}
	if kind == "push" {
		if push, ok := readPush(p.body); ok {
			return p.githubPush(push)
		}
	}
	switch e := p.webhookOf(kind).(type) {
	case *github.PushEvent:
		return p.githubPush(pushedAs(e))
	case *github.PullRequestEvent:
		return p.githubPullRequest(e)
	case *github.PingEvent:
		p.ignore("ping")
	default: // the payload null decodes to nothing
		p.fail("", "payload is not an object")
	}
	return nil
}

func (p *payload) webhookOf(kind string) any {
	e, err := github.ParseWebHook(kind, p.body)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && bytes.Contains(p.body, []byte(customProperties)) {
		e, err = github.ParseWebHook(kind, withoutCustomProperties(p.body))
	}
	p.decoded(err)
	return e
}

// customProperties may hold lists at GitHub (multi-select properties), which
// go-github v60 cannot read; they would make it refuse every push of such a
// repository.
const customProperties = "custom_properties"

func withoutCustomProperties(body []byte) []byte {
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&tree) != nil {
		return body
	}
	dropKey(tree, customProperties)
	trimmed, err := json.Marshal(tree)
	if err != nil {
		return body
	}
	return trimmed
}

func dropKey(tree any, key string) {
	switch t := tree.(type) {
	case map[string]any:
		delete(t, key)
		for _, below := range t {
			dropKey(below, key)
		}
	case []any:
		for _, below := range t {
			dropKey(below, key)
		}
	}
}

func (p *payload) githubPush(e pushed) []proto.Message {
	return []proto.Message{&eventsv1.GitPush{
		Repo:     p.repo("repository.clone_url", e.cloneURL),
		Ref:      p.ref("ref", e.ref),
		Before:   p.sha("before", e.before),
		After:    p.sha("after", e.after),
		Pusher:   person(e.pusherName, e.senderLogin),
		Provider: p.provider,
	}}
}

var githubActions = map[string]string{"opened": "opened", "synchronize": "synchronized", "reopened": "reopened", "closed": "closed"}

func (p *payload) githubPullRequest(e *github.PullRequestEvent) []proto.Message {
	action, known := githubActions[e.GetAction()]
	if !known {
		p.ignore("pull request action " + word(e.GetAction()) + " is not used")
		return nil
	}
	pr := e.GetPullRequest()
	if action == "closed" && pr.GetMerged() {
		action = "merged"
	}
	head, base := pr.GetHead(), pr.GetBase()
	return []proto.Message{&eventsv1.GitPullRequest{
		Repo:     p.repo("repository.clone_url", e.GetRepo().GetCloneURL()),
		Number:   p.number("number", int64(e.GetNumber())),
		HeadRef:  p.branch("pull_request.head.ref", head.GetRef()),
		HeadSha:  p.headSHA("pull_request.head.sha", head.GetSHA()),
		BaseRef:  p.branch("pull_request.base.ref", base.GetRef()),
		Action:   action,
		Fork:     head.GetRepo().GetID() == 0 || head.GetRepo().GetID() != base.GetRepo().GetID(), // a deleted fork has no repo
		Provider: p.provider,
	}}
}

// githubPackage is our own reading of "package" and "registry_package":
// go-github v60 does not know the latter, and of the former it knows neither
// container_metadata nor package_url and refuses the empty list that GitHub
// sends for "metadata".
type githubPackage struct {
	Action          string            `json:"action"`
	Package         *containerPackage `json:"package"`
	RegistryPackage *containerPackage `json:"registry_package"`
}

type containerPackage struct {
	Name  string `json:"name"`
	Owner struct {
		Login string `json:"login"`
	} `json:"owner"`

	PackageVersion struct {
		PackageURL        string `json:"package_url"`
		ContainerMetadata *struct {
			Tag struct {
				Name   string `json:"name"`
				Digest string `json:"digest"`
			} `json:"tag"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

// parseGHCR reads the package events of the GitHub container registry.
func parseGHCR(p *payload) []proto.Message {
	kind := p.header.Get(github.EventTypeHeader)
	var e githubPackage
	switch kind {
	case "package", "registry_package":
		p.decode(&e)
	case "":
		p.fail("", "header X-GitHub-Event is missing")
	default:
		p.ignore("event " + word(kind) + " is not used")
		return nil
	}
	pkg := e.Package
	if kind == "registry_package" {
		pkg = e.RegistryPackage
	}
	if pkg == nil {
		p.fail(kind, "is missing")
		return nil
	}
	if e.Action != "published" && e.Action != "updated" {
		p.ignore("package action " + word(e.Action) + " is not used")
		return nil
	}
	return p.containerPush(kind, pkg)
}

func (p *payload) containerPush(field string, pkg *containerPackage) []proto.Message {
	version := pkg.PackageVersion
	switch {
	case version.ContainerMetadata == nil && pkg.Name != "":
		p.ignore("package is no container image")
		return nil
	case version.ContainerMetadata == nil:
		p.fail(field+".package_version.container_metadata", "is missing")
		return nil
	case version.ContainerMetadata.Tag.Name == "" && version.ContainerMetadata.Tag.Digest != "":
		p.ignore("image has no tag")
		return nil
	}
	name := withoutTag(version.PackageURL)
	if name == "" && pkg.Owner.Login != "" {
		name = "ghcr.io/" + strings.ToLower(pkg.Owner.Login+"/"+pkg.Name)
	}
	tag := version.ContainerMetadata.Tag
	return []proto.Message{p.image(field+".package_version", name, tag.Name, tag.Digest)}
}
