package archive

import (
	"path"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/tree"
)

// maxName is how many bytes of a name are taken, and shown.
const maxName = 1024

// name is the path of an entry in a tree: "./a/", as tar writes it, is "a".
func (r *Reader) name(raw string) (string, error) {
	if len(raw) > maxName {
		return "", refuse(strings.ToValidUTF8(raw[:60], "?"), "the name has more than %d bytes", maxName)
	}
	if path.IsAbs(raw) {
		return "", refuse(raw, "the name is absolute")
	}
	clean := path.Clean(strings.TrimSuffix(raw, "/"))
	if raw == "" {
		return "", refuse("", "an entry has no name")
	}
	if clean == "." && !strings.Contains(raw, "..") {
		return clean, nil
	}
	for _, part := range strings.Split(raw, "/") {
		if part == "" || part == "." { // path.Clean took them out
			continue
		}
		if why := tree.BadName(part); why != "" {
			return "", refuse(raw, "%s", why)
		}
	}
	if strings.Count(clean, "/") >= r.limits.Depth {
		return "", refuse(raw, "it lies more than %d directories deep", r.limits.Depth)
	}
	return clean, nil
}
