package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// parseDockerHub reads https://docs.docker.com/docker-hub/repos/manage/webhooks/.
// Its callback_url is never called.
func parseDockerHub(p *payload) []proto.Message {
	var e struct {
		PushData struct {
			Tag string `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			RepoName string `json:"repo_name"`
		} `json:"repository"`
	}
	p.decode(&e)
	if e.Repository.RepoName == "" {
		p.fail("repository.repo_name", "is missing")
	}
	if e.PushData.Tag == "" {
		p.fail("push_data.tag", "is missing")
	}
	return []proto.Message{p.image("repository.repo_name", dockerHub+"/"+e.Repository.RepoName, e.PushData.Tag, "")}
}

// parseQuay reads the push notification of
// https://docs.redhat.com/en/documentation/red_hat_quay/3/html/use_red_hat_quay/repository-notifications.
// Notifications name no type: the push is the one with updated_tags.
func parseQuay(p *payload) (images []proto.Message) {
	var e struct {
		DockerURL   string          `json:"docker_url"`
		UpdatedTags json.RawMessage `json:"updated_tags"`
	}
	p.decode(&e)
	if e.DockerURL == "" {
		p.fail("docker_url", "is missing")
	}
	if p.err == nil && e.UpdatedTags == nil {
		p.ignore("notification is not about a push")
		return nil
	}
	for _, tag := range p.quayTags(e.UpdatedTags) {
		if tag == "" {
			p.fail("updated_tags", "holds an empty tag")
		}
		images = append(images, p.image("docker_url", e.DockerURL, tag, ""))
	}
	return images
}

// quayTags reads a list of tags, or as older versions send it an object from
// tag to image id.
func (p *payload) quayTags(raw json.RawMessage) []string {
	var tags []string
	if err := json.Unmarshal(raw, &tags); err == nil && tags != nil {
		return tags
	}
	var ids map[string]string
	if err := json.Unmarshal(raw, &ids); err != nil || ids == nil {
		p.fail("updated_tags", "is not a list of tags")
		return nil
	}
	return slices.Sorted(maps.Keys(ids))
}

// harborEvent is Harbor's payload in both formats, Default and CloudEvents:
// https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks.
type harborEvent struct {
	Type      string      `json:"type"`
	ID        string      `json:"id"` // CloudEvents only
	EventData *harborData `json:"event_data"`
	Data      *harborData `json:"data"`
}

type harborData struct {
	Resources []struct {
		Digest      string `json:"digest"`
		Tag         string `json:"tag"`
		ResourceURL string `json:"resource_url"`
	} `json:"resources"`
}

func parseHarbor(p *payload) (images []proto.Message) {
	var e harborEvent
	p.decode(&e)
	field, data := "event_data", e.EventData
	switch e.Type {
	case "PUSH_ARTIFACT":
	case "harbor.artifact.pushed":
		field, data, p.id = "data", e.Data, cleanID(e.ID)
	case "":
		p.fail("type", "is missing")
	default:
		p.ignore("event " + word(e.Type) + " is not used")
		return nil
	}
	if data == nil || data.Resources == nil {
		p.fail(field+".resources", "is missing")
		return nil
	}
	for i, r := range data.Resources {
		if r.Tag == r.Digest { // so Harbor writes that there is no tag
			p.ignore("image has no tag")
			continue
		}
		images = append(images, p.image(fmt.Sprintf("%s.resources[%d].resource_url", field, i), withoutTag(r.ResourceURL), r.Tag, r.Digest))
	}
	return images
}

// distributionEvent is one of the envelope of
// https://distribution.github.io/distribution/about/notifications/.
type distributionEvent struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	Target struct {
		Digest     string `json:"digest"`
		Repository string `json:"repository"`
		URL        string `json:"url"`
		Tag        string `json:"tag"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"`
	} `json:"request"`
}

func parseDistribution(p *payload) (images []proto.Message) {
	var envelope struct {
		Events []distributionEvent `json:"events"`
	}
	p.decode(&envelope)
	if envelope.Events == nil {
		p.fail("events", "is missing")
		return nil
	}
	for i, e := range envelope.Events {
		field := fmt.Sprintf("events[%d].", i)
		switch {
		case e.Action == "":
			p.fail(field+"action", "is missing")
		case e.Action != "push":
			p.ignore("action " + word(e.Action) + " is not used")
			continue
		case e.Target.Repository == "":
			p.fail(field+"target.repository", "is missing")
		case e.Target.Tag == "":
			p.ignore("image has no tag") // a layer, or one platform of an index
			continue
		}
		if p.id == "" {
			p.id = cleanID(e.ID) // the registry repeats an envelope whole
		}
		images = append(images, p.imageAt(field+"target", e.host(), strings.ToLower(e.Target.Repository), e.Target.Tag, e.Target.Digest))
	}
	return images
}

// host is the registry's name: that of the URL, which honours its http.host
// setting, else what the client called it.
func (e distributionEvent) host() string {
	if u, err := url.Parse(e.Target.URL); err == nil && u.Host != "" {
		return strings.ToLower(u.Host)
	}
	return strings.ToLower(e.Request.Host)
}
