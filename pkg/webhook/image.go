package webhook

import (
	"regexp"
	"strings"

	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// The grammar of image names, from the OCI distribution specification
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
var (
	imageHost = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?$`)
	imagePath = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	imageTag  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	imageHash = regexp.MustCompile(`^[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-fA-F]{32,128}$`)
)

const maxImageName = 255

// dockerHub is the one name of the registry that has several.
const dockerHub = "docker.io"

// image checks what a payload says about one pushed image, named as a pull
// would name it. Tag or digest may be empty, not both.
func (p *payload) image(field, name, tag, digest string) *eventsv1.ImagePush {
	if name == "" {
		p.fail(field, "is missing")
	}
	registry, repository := splitImage(name)
	return p.imageAt(field, registry, repository, tag, digest)
}

func (p *payload) imageAt(field, registry, repository, tag, digest string) *eventsv1.ImagePush {
	switch {
	case len(registry)+len(repository) > maxImageName || !imageHost.MatchString(registry) || !imagePath.MatchString(repository):
		p.fail(field, "is not an image name with its registry, as in ghcr.io/acme/web")
	case tag == "" && digest == "":
		p.fail(field, "has neither tag nor digest")
	case tag != "" && !imageTag.MatchString(tag):
		p.fail(field, "has a tag that no registry allows")
	case digest != "" && !imageHash.MatchString(digest):
		p.fail(field, "has a digest that is not <algorithm>:<hex>")
	}
	return &eventsv1.ImagePush{Registry: registry, Repository: repository, Tag: tag, Digest: digest, Provider: p.provider}
}

// splitImage reads registry and repository, lower-cased, of a name without tag.
func splitImage(name string) (registry, repository string) {
	registry, repository, found := strings.Cut(strings.ToLower(name), "/")
	if !found || !strings.ContainsAny(registry, ".:") && registry != "localhost" {
		registry, repository = dockerHub, strings.ToLower(name)
	}
	switch registry {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		registry = dockerHub
	}
	if registry == dockerHub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return registry, repository
}

// withoutTag cuts ":tag" and "@digest" off an image reference.
func withoutTag(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	if colon := strings.LastIndexByte(reference, ':'); colon > strings.LastIndexByte(reference, '/') {
		reference = reference[:colon]
	}
	return reference
}
