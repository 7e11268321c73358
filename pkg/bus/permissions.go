package bus

// inboxPrefix keeps the replies of services apart, so that none can listen to
// those of another.
func inboxPrefix(service string) string {
	if service == "" {
		return "_INBOX"
	}
	return "_INBOX." + service
}

func uses(service, stream string) bool { return true }
