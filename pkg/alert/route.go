package alert

import (
	"path"
	"slices"

	"github.com/plumb-gitops/plumb/pkg/config"
)

// Routes say which channels hear about which Applications; all that match count.
type Routes []config.Route

// Lead says whether a route leads from an Application to a channel.
func (r Routes) Lead(cluster, namespace, name, channel string) bool {
	for _, route := range r {
		m := route.Match
		if slices.Contains(route.To, channel) && matches(m.Clusters, cluster) && matches(m.Namespaces, namespace) && matches(m.Names, name) {
			return true
		}
	}
	return false
}

// matches any of some globs; none match everything. The configuration has
// checked the globs.
func matches(globs []string, name string) bool {
	for _, glob := range globs {
		if ok, err := path.Match(glob, name); err == nil && ok {
			return true
		}
	}
	return len(globs) == 0
}
