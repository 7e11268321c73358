package render

import (
	"fmt"
	"path"
	"strings"
)

// glob matches paths below the source path. "*", "?" and "[…]" stay within one
// segment, "**" stands for any number of them, "{a,b}" for either. A pattern without
// a slash is matched against the last segment, at any depth.
type glob struct {
	patterns [][]string
	base     bool
}

// maxPatterns bounds what braces may multiply to.
const maxPatterns = 64

func parseGlob(s string) (glob, error) {
	expanded, err := braces(s)
	if err != nil {
		return glob{}, err
	}
	g := glob{base: !strings.Contains(s, "/")}
	for _, p := range expanded {
		segments := strings.Split(strings.TrimPrefix(p, "/"), "/")
		for _, segment := range segments {
			if _, err := path.Match(segment, ""); err != nil {
				return glob{}, fmt.Errorf("bad pattern %q: %w", s, err)
			}
		}
		g.patterns = append(g.patterns, segments)
	}
	return g, nil
}

// braces expands {a,b}; braces do not nest.
func braces(s string) ([]string, error) {
	out := []string{""}
	for s != "" {
		before, rest, found := strings.Cut(s, "{")
		for i := range out {
			out[i] += before
		}
		if !found {
			return out, nil
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed || strings.Contains(inner, "{") {
			return nil, fmt.Errorf("bad pattern: braces must close and not nest")
		}
		var next []string
		for _, prefix := range out {
			for alternative := range strings.SplitSeq(inner, ",") {
				next = append(next, prefix+alternative)
			}
		}
		if len(next) > maxPatterns {
			return nil, fmt.Errorf("bad pattern: braces give more than %d patterns", maxPatterns)
		}
		out, s = next, after
	}
	return out, nil
}

func (g glob) match(name string) bool {
	if g.base {
		name = path.Base(name)
	}
	segments := strings.Split(name, "/")
	for _, p := range g.patterns {
		if matchSegments(p, segments) {
			return true
		}
	}
	return false
}

// matchSegments goes back to the last "**" only: any earlier one may stay as short
// as it was, so the time is at most len(pattern) x len(names).
func matchSegments(pattern, names []string) bool {
	p, n := 0, 0
	star, resume := -1, 0
	for n < len(names) {
		if p < len(pattern) && pattern[p] == "**" {
			star, resume = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if ok, _ := path.Match(pattern[p], names[n]); ok {
				p, n = p+1, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		resume++
		p, n = star+1, resume
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}
