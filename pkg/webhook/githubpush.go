package webhook

import "github.com/google/go-github/v60/github"

// pushed is what Plumb reads of a push.
type pushed struct {
	ref, before, after      string
	cloneURL                string
	pusherName, senderLogin string
}

// readPush reads a push in the form in which GitHub sends it. The lists of commits and
// all else that Plumb does not use is walked over, whatever it holds. Not ok is
// everything else, as nulls, other types, and keys that only encoding/json would take for
// one of these.
func readPush(body []byte) (p pushed, ok bool) {
	w := &walker{text: body}
	only := func(name string, into *string) func([]byte) bool {
		return func(key []byte) bool {
			if string(key) == name {
				return w.read(into)
			}
			return lowerCase(key) && w.skip()
		}
	}
	ok = w.document(func(key []byte) bool {
		switch string(key) {
		case "ref":
			return w.read(&p.ref)
		case "before":
			return w.read(&p.before)
		case "after":
			return w.read(&p.after)
		case "repository":
			return w.object(only("clone_url", &p.cloneURL))
		case "pusher":
			return w.object(only("name", &p.pusherName))
		case "sender":
			return w.object(only("login", &p.senderLogin))
		}
		return lowerCase(key) && w.skip()
	})
	return p, ok
}

// lowerCase says that a key stands for itself: encoding/json also takes "REF" or
// "\u0072ef" for "ref".
func lowerCase(key []byte) bool {
	for _, c := range key {
		if c >= 'A' && c <= 'Z' || c == '\\' || c >= 0x80 {
			return false
		}
	}
	return true
}

// pushedAs is what go-github reads, which also takes odd payloads and tells what is wrong.
func pushedAs(e *github.PushEvent) pushed {
	return pushed{
		ref: e.GetRef(), before: e.GetBefore(), after: e.GetAfter(), cloneURL: e.GetRepo().GetCloneURL(),
		pusherName: e.GetPusher().GetName(), senderLogin: e.GetSender().GetLogin(),
	}
}
