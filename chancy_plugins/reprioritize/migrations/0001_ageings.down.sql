DROP TABLE {ageings};
