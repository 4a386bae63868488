"""The torch room: a network as a landscape, evaluated, differentiated, timed."""
