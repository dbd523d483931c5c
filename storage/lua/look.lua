-- ARGV: notices, what is known.

return sight(ARGV[2])
