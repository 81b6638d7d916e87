"""What tests share: programs run in one call, samples, graphs by chance, stand-ins. No test stands here."""
