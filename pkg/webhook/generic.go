package webhook

import (
	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// parseGeneric reads what any script can send: {repo, ref, after} for a push,
// {image, tag, digest} for an image.
func parseGeneric(p *payload) []proto.Message {
	var e struct {
		Repo  string `json:"repo"`
		Ref   string `json:"ref"`
		After string `json:"after"`

		Image  string `json:"image"`
		Tag    string `json:"tag"`
		Digest string `json:"digest"`
	}
	p.decode(&e)
	switch {
	case p.err != nil:
	case e.Repo != "" && e.Image != "":
		p.fail("", "payload has both repo and image")
	case e.Image != "":
		return []proto.Message{p.image("image", e.Image, e.Tag, e.Digest)}
	case e.Repo == "":
		p.fail("", "payload has neither repo nor image")
	}
	return []proto.Message{&eventsv1.GitPush{
		Repo:     p.repo("repo", e.Repo),
		Ref:      p.ref("ref", e.Ref),
		After:    p.sha("after", e.After),
		Provider: p.provider,
	}}
}
