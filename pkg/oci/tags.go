package oci

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// newest returns the tag with the highest version in the range.
func (s *session) newest(ctx context.Context, constraint string, limit int) (string, error) {
	in, err := semver.NewConstraint(constraint)
	if err != nil {
		return "", refuse("%q is no range of versions, such as >=1.2 <2", constraint)
	}
	tags, err := s.tags(ctx, limit)
	if err != nil {
		return "", err
	}
	if tag := highest(tags, in); tag != "" {
		return tag, nil
	}
	return "", refuse("none of the %d tags of %s is a version in %q; pre-releases count only if the range names one", len(tags), s.repo.Name(), constraint)
}

// highest compares versions in full, with or without a v before them; in tags, an
// underscore stands for the plus of build metadata, which tags cannot hold. Of
// equal versions it is the tag that sorts last.
func highest(tags []string, in *semver.Constraints) string {
	var best *semver.Version
	var tag string
	for _, t := range tags {
		v, err := semver.StrictNewVersion(strings.ReplaceAll(strings.TrimPrefix(t, "v"), "_", "+"))
		if err != nil || !in.Check(v) {
			continue
		}
		if best == nil || v.GreaterThan(best) || v.Equal(best) && t > tag {
			best, tag = v, t
		}
	}
	return tag
}

// page is how many tags are asked for at once; registries may send fewer.
const page = "1000"

// maxPages bounds a registry that always has one more.
const maxPages = 1000

// tags lists all tags; OCI distribution specification, "Listing Tags".
func (s *session) tags(ctx context.Context, limit int) ([]string, error) {
	var all []string
	query := url.Values{"n": {page}}
	for pages := 0; ; pages++ {
		res, err := s.send(ctx, request{
			doing: "list tags", method: http.MethodGet, path: "tags/list", query: query,
			missing: "the registry has no repository " + s.repo.Name() + ", or this credential may not see it",
		})
		if err != nil {
			return nil, err
		}
		var list struct {
			Tags []string `json:"tags"`
		}
		err = json.NewDecoder(res.Body).Decode(&list)
		_ = res.Body.Close() // read as far as it matters
		if err != nil {
			return nil, s.explain(request{doing: "list tags"}, err)
		}
		all = append(all, list.Tags...)
		if len(all) > limit || pages > maxPages {
			return nil, refuse("%s has more than %d tags; name one in ref, or delete old ones", s.repo.Name(), limit)
		}
		if query = next(res.Header.Get("Link")); query == nil {
			return all, nil
		}
	}
}

var link = regexp.MustCompile(`^\s*<([^>]*)>\s*;\s*rel="?next"?`)

// next is the query of the following page; of its URL nothing else is followed.
func next(header string) url.Values {
	found := link.FindStringSubmatch(header)
	if found == nil {
		return nil
	}
	u, err := url.Parse(found[1])
	if err != nil || len(u.Query()) == 0 {
		return nil
	}
	return u.Query()
}
